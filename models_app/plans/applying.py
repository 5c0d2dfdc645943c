"""From a plan to an operation: held against reality as it is now, and handed over step by step.

What becomes of the operation is followed by ``settle``: the plan is applied once the apply, or one that resumed it, has
succeeded, and the plan that was applied before is not any more.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.roles import Actor
from models_app.inventory.models import Endpoint
from models_app.live import Topic, publish
from models_app.operations.apply import StepRequest, request_apply
from models_app.operations.models import Operation
from models_app.operations.refusals import RequestRefused
from models_app.plans.freshness import require_applicable
from models_app.plans.models import Plan
from models_app.plans.outages import outages
from models_app.plans.records import PlanStep, steps
from models_app.solver.transitions import Act

Kind, State = Operation.Kind, Plan.State


def apply_plan(
    actor: Actor, plan: Plan, *, confirmed: bool = False, enforce: bool = False, idempotency_key: str = ""
) -> Plan:
    """Make a solved plan real; its ``operation`` does it, ``None`` where nothing has to change.

    Raises ``RequestRefused``: the codes of ``require_applicable``, ``confirm_apply`` with what would be unloaded and for
    how long until ``confirmed``, or what an apply is refused for.
    """
    _check_free(plan)
    require_applicable(plan)
    todo = steps(plan.steps)
    if not confirmed and (told := outages(plan)):
        sentences = " ".join(outage.sentence for outage in told)
        raise RequestRefused("confirm_apply", f"Applying {plan} unloads models. {sentences}", status=409)
    if not todo:
        return _adopt(actor, plan, enforce)
    with transaction.atomic():
        operation = request_apply(actor, str(plan), _requests(todo), confirmed=True, idempotency_key=idempotency_key)
        Plan.objects.filter(pk=plan.pk).update(operation=operation, enforce=enforce)
        _told(actor, plan, enforce, operation)
    plan.refresh_from_db()
    return plan


def settle() -> None:
    """Follow the applies of plans to their ends."""
    open_or_active = Q(applied_at=None) | Q(state=State.APPLIED)
    followers = Operation.objects.filter(follows=OuterRef("operation"))
    may_have_succeeded = Q(operation__state=Operation.State.SUCCEEDED) | Exists(followers)
    for plan in Plan.objects.filter(open_or_active, may_have_succeeded).defer(*Plan.PARTS).select_related("operation"):
        latest = _latest(plan.operation)
        if latest is None or latest.state != Operation.State.SUCCEEDED:
            continue
        if latest.options.get("rolls_back"):
            _forget_operation(plan)
        elif plan.applied_at is None:
            _activate(plan, latest)


def active_plan() -> Plan | None:
    """The plan that is applied now."""
    return Plan.objects.filter(state=State.APPLIED).order_by("-applied_at").first()


def _check_free(plan: Plan) -> None:
    if plan.operation and plan.operation.is_active:
        message = f"{plan} is being applied already by operation {plan.operation.pk}."
        raise RequestRefused("apply_running", message, status=409, operation=plan.operation)


def _requests(todo: Sequence[PlanStep]) -> list[StepRequest]:
    """The steps for operations. Raises ``RequestRefused`` where an endpoint has gone."""
    endpoints = Endpoint.objects.select_related("host").in_bulk({step.instance.endpoint_id for step in todo})
    gone = next((step.instance for step in todo if step.instance.endpoint_id not in endpoints), None)
    if gone is not None:
        raise RequestRefused("plan_stale", f"{gone.endpoint} is gone. Have the plan solved again.", status=409)
    return [_request(step, endpoints[step.instance.endpoint_id]) for step in todo]


def _request(step: PlanStep, endpoint: Endpoint) -> StepRequest:
    instance = step.instance
    kind = Kind.LOAD if step.act == Act.LOAD else Kind.UNLOAD
    return StepRequest(kind, endpoint, instance.model, instance.load_options, step.after, instance.gpus)


def _adopt(actor: Actor, plan: Plan, enforce: bool) -> Plan:
    """Everything is as the plan would have it: it becomes the active one at once."""
    with transaction.atomic():
        Plan.objects.filter(pk=plan.pk).update(enforce=enforce)
        _activate(plan, None)
        _told(actor, plan, enforce, None)
    plan.refresh_from_db()
    return plan


@transaction.atomic
def _activate(plan: Plan, operation: Operation | None) -> None:
    others = Plan.objects.filter(state=State.APPLIED).exclude(pk=plan.pk)
    _retire(others, [f"{plan} was applied after it."])
    Plan.objects.filter(pk=plan.pk).update(
        state=State.APPLIED, applied_at=timezone.now(), operation=operation, difference=[]
    )
    publish(Topic.PLAN, plan.pk)


def _forget_operation(plan: Plan) -> None:
    Plan.objects.filter(pk=plan.pk).update(operation=None, applied_at=None)
    _retire(Plan.objects.filter(pk=plan.pk), ["It was rolled back."])


def _retire(plans: QuerySet[Plan], why: list[str]) -> None:
    for pk in list(plans.values_list("pk", flat=True)):
        Plan.objects.filter(pk=pk).update(state=State.STALE, difference=why)
        publish(Topic.PLAN, pk)


def _told(actor: Actor, plan: Plan, enforce: bool, operation: Operation | None) -> None:
    audit.record(actor, "plan.apply", plan, enforce=enforce, operation=operation.pk if operation else None)
    publish(Topic.PLAN, plan.pk)


def _latest(operation: Operation | None) -> Operation | None:
    """The apply that took over last."""
    while operation is not None and (follower := operation.followers.order_by("pk").last()):
        operation = follower
    return operation
