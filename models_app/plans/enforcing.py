"""Holds the active plan where it says *enforce*: what drifted is put right by operations, a few times, not for ever.

Only models are touched whose options Berth set and was not asked to give up, and all their options are repeated, for a
server reloads a model on any difference. A model that drifts again after ``MOST_CORRECTIONS`` within ``WITHIN`` is left
alone: fighting another client would only keep both from working. The row that says so is there for alerts to read.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.roles import PANEL, Actor
from models_app.inventory.models import Endpoint
from models_app.live import Topic, publish
from models_app.operations.models import Operation, OperationTarget
from models_app.operations.refusals import RequestRefused
from models_app.operations.request import Request
from models_app.operations.submission import submit
from models_app.plans.applying import active_plan
from models_app.plans.corrections import Correction, EnforcementStop
from models_app.plans.drift import Difference, Drift, drift
from models_app.plans.models import Plan

Kind = Operation.Kind
MOST_CORRECTIONS = 3
WITHIN = timedelta(minutes=10)
REST = timedelta(seconds=30)
"""After a correction that was refused: what stood in its way, as memory that has yet to come back, may be gone then."""


def enforce() -> None:
    """Correct what has drifted from the active plan, if it is enforced and no apply is under way."""
    plan = active_plan()
    if plan is None or not plan.enforce or _is_applying():
        return
    for found in drift(plan):
        if found.is_ours and found.instance is not None and not _is_stopped(plan, found) and not _is_busy(found):
            _correct(plan, found)


def set_enforced(actor: Actor, plan: Plan, enforced: bool) -> None:
    """Enforce a plan or cease to; what was left alone is corrected again. It takes effect while the plan is active."""
    with transaction.atomic():
        Plan.objects.filter(pk=plan.pk).update(enforce=enforced)
        EnforcementStop.objects.filter(plan=plan).delete()
        Correction.objects.filter(plan=plan, at__gt=timezone.now() - WITHIN).update(at=timezone.now() - WITHIN)
        audit.record(actor, "plan.enforce" if enforced else "plan.watch", plan)
        publish(Topic.PLAN, plan.pk)


def _is_applying() -> bool:
    return Operation.objects.filter(kind=Kind.APPLY, state__in=Operation.ACTIVE).exists()


def _is_stopped(plan: Plan, found: Difference) -> bool:
    return EnforcementStop.objects.filter(plan=plan, endpoint_id=found.endpoint_id, model_name=found.model).exists()


def _is_busy(found: Difference) -> bool:
    where = {"endpoint_id": found.endpoint_id, "model_name": found.model}
    return OperationTarget.objects.filter(active=True, **where).exists()


def _correct(plan: Plan, found: Difference) -> None:
    now = timezone.now()
    tried = Correction.objects.filter(plan=plan, endpoint_id=found.endpoint_id, model_name=found.model)
    if tried.filter(operation=None, at__gt=now - REST).exists():
        return None
    count = tried.filter(at__gt=now - WITHIN).count()
    if count >= MOST_CORRECTIONS:
        return _stop(plan, found, count)
    endpoint = Endpoint.objects.select_related("host").get(pk=found.endpoint_id)
    try:
        operation = submit(_request(endpoint, found))
        reason = found.sentence
    except RequestRefused as refused:
        operation, reason = None, f"{found.sentence} It cannot be put right: {refused.message}"
    _note(plan, found, reason, operation)
    return None


def _request(endpoint: Endpoint, found: Difference) -> Request:
    """The plan's whole options: a load of what is missing or differs, a new keep-alive for what is not to leave."""
    assert found.instance is not None  # noqa: S101 - only the plan's own models are corrected
    kind = Kind.SET_KEEP_ALIVE if found.drift is Drift.KEEP_ALIVE else Kind.LOAD
    return Request(kind, PANEL, endpoint, found.model, found.instance.load_options, reload=True, confirmed=True)


@transaction.atomic
def _note(plan: Plan, found: Difference, reason: str, operation: Operation | None) -> None:
    where = {"plan": plan, "endpoint_id": found.endpoint_id, "model_name": found.model}
    Correction.objects.create(**where, reason=reason, operation=operation)
    audit.record(PANEL, "plan.correct", plan, model=found.model, endpoint=found.endpoint, reason=reason)
    publish(Topic.PLAN, plan.pk)


@transaction.atomic
def _stop(plan: Plan, found: Difference, count: int) -> None:
    minutes = round(WITHIN.total_seconds() / 60)
    reason = (
        f"{found.model} on {found.endpoint} still differs, though Berth has tried {count} times within {minutes} minutes: "
        f"{found.sentence} Berth leaves it alone until an admin enforces the plan again."
    )
    where = {"plan": plan, "endpoint_id": found.endpoint_id, "model_name": found.model}
    EnforcementStop.objects.get_or_create(**where, defaults={"reason": reason})
    audit.record(PANEL, "plan.enforcement_stopped", plan, model=found.model, endpoint=found.endpoint)
    publish(Topic.PLAN, plan.pk)
