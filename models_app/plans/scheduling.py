"""Schedules at work: saved as people ask, fired when due, and each firing told, also one that waited or was skipped."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.roles import Actor, Via
from models_app.live import Topic, publish
from models_app.operations.models import Operation
from models_app.operations.refusals import RequestRefused
from models_app.plans.applying import apply_plan
from models_app.plans.cron import InvalidSchedule, next_firing
from models_app.plans.models import Demand, Plan
from models_app.plans.requests import request_plan
from models_app.plans.schedules import Schedule
from models_app.plans.waking import JustLoaded, wake

log = logging.getLogger(__name__)

LATE = timedelta(minutes=10)
"""A firing that is noticed later than this, because the panel was not running, is told and not caught up with."""
LONGEST_WAIT = timedelta(hours=1)
PLANS_KEPT = 10
"""Of those that a schedule had solved, beside the active one and any that a schedule applies."""


def save_schedule(
    actor: Actor,
    *,
    name: str,
    cron: str,
    time_zone: str,
    plan: Plan | None = None,
    demand: Demand | None = None,
    when_busy: str = Schedule.WhenBusy.WAIT,
    enabled: bool = True,
    row: Schedule | None = None,
) -> Schedule:
    """Add a schedule, or change ``row``.

    Raises ``RequestRefused`` (``invalid_schedule``, ``name_taken``, ``schedule_gone``).
    """
    errors = _errors(name, plan, demand, when_busy)
    try:
        next_at = next_firing(cron.strip(), time_zone.strip(), timezone.now())
    except InvalidSchedule as error:
        errors[error.field] = str(error)
    if errors:
        raise RequestRefused("invalid_schedule", " ".join(errors.values()), field=next(iter(errors)), errors=errors)
    with transaction.atomic():
        saved = _as_it_is(row) if row else Schedule(created_by=actor.name)
        saved.name, saved.cron, saved.time_zone = name.strip(), " ".join(cron.split()), time_zone.strip()
        saved.plan, saved.demand, saved.when_busy, saved.enabled = plan, demand, when_busy, enabled
        saved.next_at, saved.waiting_since, saved.solving = next_at if enabled else None, None, None
        try:
            with transaction.atomic():
                saved.save()
        except IntegrityError as error:
            message = f"There is a schedule named {saved.name} already."
            raise RequestRefused("name_taken", message, field="name", status=409) from error
        what = {"plan": str(plan)} if plan else {"demand": str(demand)}
        audit.record(actor, "schedule.change" if row else "schedule.add", saved, cron=saved.cron, **what)
        publish(Topic.PLAN)
    return saved


@transaction.atomic
def delete_schedule(actor: Actor, row: Schedule) -> None:
    """Forget a schedule; what it brought about stays as it is."""
    audit.record(actor, "schedule.delete", row)
    row.delete()
    publish(Topic.PLAN)


def run_due() -> None:
    """Fire what is due, and go on with what waits."""
    now = timezone.now()
    for row in Schedule.objects.filter(enabled=True, next_at__lte=now):
        _note_firing(row, now)
    waiting = Schedule.objects.filter(enabled=True, waiting_since__isnull=False)
    for row in waiting.select_related("plan", "demand", "solving").order_by("waiting_since", "pk"):
        _go_on(row, now)


def _as_it_is(row: Schedule) -> Schedule:
    """The row locked, as others have left it. Raises ``RequestRefused`` where they have deleted it."""
    locked = Schedule.objects.select_for_update().filter(pk=row.pk).first()
    if locked is None:
        raise RequestRefused("schedule_gone", f"Somebody has deleted {row} meanwhile.", status=409)
    return locked


def _errors(name: str, plan: Plan | None, demand: Demand | None, when_busy: str) -> dict[str, str]:
    errors: dict[str, str] = {}
    if not name.strip() or len(name) > 80 or not name.isprintable():
        errors["name"] = "Give it a name of at most 80 printable characters."
    if (plan is None) == (demand is None):
        errors["plan"] = "Choose either a plan to apply or a demand to make available."
    elif plan is not None and (plan.is_what_if or plan.state in (Plan.State.SOLVING, Plan.State.FAILED)):
        errors["plan"] = f"{plan} can never be applied: it is not solved, or supposes GPUs that are not there."
    if when_busy not in Schedule.WhenBusy.values:
        errors["when_busy"] = "Say wait or skip."
    return errors


def _note_firing(row: Schedule, now: datetime) -> None:
    """Only the one that moves ``next_at`` on fires; a firing that still waits is not doubled."""
    due = row.next_at or now
    columns: dict[str, object] = {"next_at": next_firing(row.cron, row.time_zone, now), "fired_at": due}
    if now - due > LATE:
        columns["outcome"] = f"Missed at {_clock(row, due)}: the panel was not running."
    elif row.waiting_since is None:
        columns["waiting_since"] = due
    Schedule.objects.filter(pk=row.pk, next_at=row.next_at).update(**columns)
    publish(Topic.PLAN)


def _go_on(row: Schedule, now: datetime) -> None:
    since = row.waiting_since or now
    busy = Operation.objects.filter(kind=Operation.Kind.APPLY, state__in=Operation.ACTIVE).first()
    if busy is not None:
        return _wait(row, now, f"operation {busy.pk} ({busy}) was under way", f"for operation {busy.pk} ({busy})")
    try:
        _fire(row, since)
    except JustLoaded as refused:
        _wait(row, now, refused.reason, f"until it may make way: {refused.reason}")
    except RequestRefused as refused:
        _end(row, f"Not done at {_clock(row, since)}: {refused.message}")
    except DatabaseError:  # nothing can be written now: it is tried again
        raise
    except Exception:
        log.exception("schedule %s failed", row.pk)
        _end(row, f"Not done at {_clock(row, since)}: an error of Berth itself, which its log tells.")


def _wait(row: Schedule, now: datetime, reason: str, waits_for: str) -> None:
    """For what passes by itself; or skip this time, where that was chosen or it has lasted too long."""
    since = row.waiting_since or now
    if row.when_busy == Schedule.WhenBusy.SKIP or now - since > LONGEST_WAIT:
        _end(row, f"Skipped at {_clock(row, since)}: {reason}.")
    else:
        _tell(row, f"Waits since {_clock(row, since)} {waits_for}.")


def _fire(row: Schedule, since: datetime) -> None:
    actor = Actor(None, _requester(row), Via.PANEL)
    at = _clock(row, since)
    if row.demand is not None:
        woken = wake(actor, row.demand)
        done = f"{row.demand} is loaded by operation {woken.operation.pk}" if woken.operation else "it was loaded already"
        return _end(row, f"At {at}: {done}.", woken.operation)
    if row.plan is None:
        return _end(row, f"Not done at {at}: its plan is gone.")
    if row.solving is None:
        solving = request_plan(actor, name=row.plan.name, demands=row.plan.demands, seconds=row.plan.seconds)
        Schedule.objects.filter(pk=row.pk).update(solving=solving)
        return None
    if row.solving.state == Plan.State.SOLVING:
        return None
    if row.solving.state == Plan.State.FAILED:
        return _end(row, f"Not done at {at}: {row.solving.error_message}")
    plan = apply_plan(actor, row.solving, confirmed=True, enforce=row.plan.enforce)
    done = f"{plan} is applied by operation {plan.operation.pk}" if plan.operation else f"everything was as {plan} has it"
    return _end(row, f"At {at}: {done}.", plan.operation)


def _tell(row: Schedule, outcome: str) -> None:
    if Schedule.objects.filter(pk=row.pk).exclude(outcome=outcome).update(outcome=outcome):
        publish(Topic.PLAN)


def _end(row: Schedule, outcome: str, operation: Operation | None = None) -> None:
    columns = {"waiting_since": None, "solving": None, "operation": operation, "outcome": outcome}
    Schedule.objects.filter(pk=row.pk).update(**columns)
    _prune(row)
    publish(Topic.PLAN)


def _requester(row: Schedule) -> str:
    return f"schedule {row.name}"[:150]


def _prune(row: Schedule) -> None:
    """Forget the plans of its earlier firings. What a person asked for is never touched."""
    mine = Plan.objects.filter(requested_by=_requester(row), user=None)
    kept = list(mine.values_list("pk", flat=True)[:PLANS_KEPT])
    mine.exclude(pk__in=kept).exclude(state=Plan.State.APPLIED).filter(schedules=None).delete()


def _clock(row: Schedule, moment: datetime) -> str:
    return f"{timezone.localtime(moment, ZoneInfo(row.time_zone)):%Y-%m-%d %H:%M}"
