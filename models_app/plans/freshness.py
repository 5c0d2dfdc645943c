"""Whether a plan still fits reality. A draft that does not is stale: it is shown so, and it must not be applied."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from models_app.accounts.roles import Actor
from models_app.live import Topic, publish
from models_app.operations.refusals import RequestRefused
from models_app.plans.changes import read_changes
from models_app.plans.fingerprint import difference
from models_app.plans.fleet import Fleet, fleet_of
from models_app.plans.models import Plan
from models_app.plans.requests import all_specs
from models_app.plans.snapshot import take_snapshot

A_MOMENT = timedelta(seconds=15)
"""So long a second click is taken for the first. What a plan is made of beside the fleet may change soon after: a pull."""


def differences(plan: Plan, now: Fleet | None = None) -> list[str]:
    """What of reality has changed since the plan was made, in sentences. ``now`` spares a snapshot."""
    if now is None or plan.changes:
        now = take_snapshot(read_changes(plan.changes))
    return difference(fleet_of(plan.fleet), now)


def outdated_demands(plan: Plan) -> list[str]:
    """What people have said since that the plan does not know. A what-if may differ on purpose."""
    now = {spec.name: spec.document() for spec in all_specs()}
    then = {document["name"]: document for document in plan.demands}
    return [
        *(f"The demand {name} is new." for name in now if name not in then),
        *(f"The demand {name} is gone." for name in then if name not in now),
        *(f"The demand {name} has changed." for name in then if name in now and now[name] != then[name]),
    ]


def just_made(actor: Actor, name: str = "") -> Plan | None:
    """What the asker had made a moment ago for the same demands: being solved, or a draft that still fits the fleet."""
    since = timezone.now() - A_MOMENT
    mine = Plan.objects.filter(requested_by=actor.name, name=name.strip(), created_at__gte=since)
    plan = mine.filter(changes={}, state__in=[Plan.State.SOLVING, Plan.State.DRAFT]).first()
    if plan is None or outdated_demands(plan):
        return None
    return plan if plan.state == Plan.State.SOLVING or not differences(plan) else None


def require_applicable(plan: Plan) -> None:
    """Raises ``RequestRefused`` (409) unless the plan may be applied now.

    Codes: ``plan_not_solved``, ``plan_is_what_if``, ``plan_places_nothing``, ``plan_impossible``, ``plan_stale`` with the
    difference, which is also written down.
    """
    if plan.state not in (Plan.State.DRAFT, Plan.State.STALE):
        raise RequestRefused("plan_not_solved", f"{plan} is {plan.get_state_display().lower()}.", status=409)
    if plan.is_what_if:
        message = f"{plan} supposes GPUs that are not there, or that are: it can be looked at, not applied."
        raise RequestRefused("plan_is_what_if", message, status=409)
    if plan.places_nothing:
        raise RequestRefused("plan_places_nothing", f"{plan} places nothing: there is nothing to apply.", status=409)
    if plan.impossible:
        names = ", ".join(row["model"] for row in plan.impossible)
        message = f"There is no way to {plan}: no order of steps can load {names} within the limits."
        raise RequestRefused("plan_impossible", message, status=409)
    if found := differences(plan):
        if Plan.objects.filter(pk=plan.pk, state=Plan.State.DRAFT).update(state=Plan.State.STALE, difference=found):
            publish(Topic.PLAN, plan.pk)
        message = f"{plan} was made for another fleet: {' '.join(found)} Solve it again."
        raise RequestRefused("plan_stale", message, status=409)
