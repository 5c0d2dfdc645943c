"""``/plans/{id}/apply``, ``/drift`` and ``/enforcement``, ``/demands/{id}/wake``: plans made real, and held so."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from ninja import Field, Router, Schema, Status
from pydantic import BaseModel, ConfigDict

from models_app.api.auth import acting
from models_app.api.operations import idempotency_key, problem_of
from models_app.operations.models import Operation
from models_app.operations.refusals import RequestRefused
from models_app.plans.applying import apply_plan
from models_app.plans.corrections import Correction, EnforcementStop
from models_app.plans.drift import drift
from models_app.plans.enforcing import set_enforced
from models_app.plans.models import Demand, Plan
from models_app.plans.waking import wake

CORRECTIONS_SHOWN = 50


class ApplyIn(Schema):
    """``confirmed`` accepts the outages that a 409 ``confirm_apply`` tells of; ``enforce`` holds the plan afterwards."""

    model_config = ConfigDict(extra="forbid")

    confirmed: bool = False
    enforce: bool = False


class AppliedOut(BaseModel):
    """``operation`` makes the plan real; none where everything was so already."""

    plan: int
    state: str
    enforce: bool
    operation: int | None


class EnforcementIn(Schema):
    """Whether drift is to be corrected. ``true`` also lets go on what Berth had stopped correcting."""

    model_config = ConfigDict(extra="forbid")

    enforce: bool


class DifferenceOut(BaseModel):
    """A model that is not as the plan has it: ``missing``, ``options``, ``keep_alive`` or ``extra``.

    ``is_correctable``: Berth set its options, and enforcing may touch it.
    """

    kind: str
    endpoint: str
    model: str
    sentence: str
    at: datetime | None
    is_correctable: bool


class CorrectionOut(BaseModel):
    """What was done against a difference."""

    at: datetime
    endpoint: str
    model: str
    reason: str
    operation: int | None


class StopOut(BaseModel):
    """A model that Berth no longer corrects, and why."""

    since: datetime
    endpoint: str
    model: str
    reason: str


class DriftOut(BaseModel):
    """Plan and observation. Differences are told of the active plan only: the one in the state ``applied``."""

    is_active: bool
    enforce: bool
    differences: list[DifferenceOut]
    corrections: list[CorrectionOut]
    stops: list[StopOut]


class WakeIn(Schema):
    """``confirmed`` accepts that a model makes way which has only just come."""

    model_config = ConfigDict(extra="forbid")

    confirmed: bool = False


class WokenOut(BaseModel):
    """Where the demand is served, or will be once ``operation`` has succeeded. ``evicted`` make way for it."""

    endpoint: str
    model: str
    operation: int | None
    evicted: list[str] = Field(description="Names of models on demand.")


plans = Router(tags=["plans"])
demands = Router(tags=["plans"])


@plans.post("/{int:plan_id}/apply", response={200: AppliedOut, 202: AppliedOut}, summary="Make a plan real")
def make_real(request: HttpRequest, response: HttpResponse, plan_id: int, body: ApplyIn) -> Any:
    """202 with the operation, or 200 where nothing has to change. A plan that no longer fits reality is a 409."""
    plan = get_object_or_404(Plan, pk=plan_id)
    key = idempotency_key(request)
    try:
        plan = apply_plan(acting(request), plan, confirmed=body.confirmed, enforce=body.enforce, idempotency_key=key)
    except RequestRefused as refused:
        raise problem_of(refused) from None
    applied = AppliedOut(plan=plan.pk, state=plan.state, enforce=plan.enforce, operation=plan.operation_id)
    return _accepted(response, plan.operation, applied)


@plans.get("/{int:plan_id}/drift", response=DriftOut, summary="What differs from an applied plan")
def get_drift(request: HttpRequest, plan_id: int) -> DriftOut:
    return _drift(get_object_or_404(Plan, pk=plan_id))


@plans.post("/{int:plan_id}/enforcement", response=DriftOut, summary="Correct drift, or only tell of it")
def change_enforcement(request: HttpRequest, plan_id: int, body: EnforcementIn) -> DriftOut:
    set_enforced(acting(request), get_object_or_404(Plan, pk=plan_id), body.enforce)
    return _drift(Plan.objects.get(pk=plan_id))


@demands.post("/{int:demand_id}/wake", response={200: WokenOut, 202: WokenOut}, summary="Make a demand available")
def make_available(request: HttpRequest, response: HttpResponse, demand_id: int, body: WakeIn) -> Any:
    """200 where it is loaded already; otherwise 202, and what the active plan keeps room for is loaded."""
    demand = get_object_or_404(Demand, pk=demand_id)
    key = idempotency_key(request)
    try:
        woken = wake(acting(request), demand, confirmed=body.confirmed, idempotency_key=key)
    except RequestRefused as refused:
        raise problem_of(refused) from None
    out = WokenOut(
        endpoint=woken.instance.endpoint,
        model=woken.instance.model,
        operation=woken.operation.pk if woken.operation else None,
        evicted=list(woken.evicted),
    )
    return _accepted(response, woken.operation, out)


def _accepted(response: HttpResponse, operation: Operation | None, answer: BaseModel) -> Status[BaseModel]:
    if operation is None:
        return Status(200, answer)
    response["Location"] = reverse("api:get_operation", args=[operation.pk])
    return Status(202, answer)


def _drift(plan: Plan) -> DriftOut:
    is_active = plan.state == Plan.State.APPLIED
    corrections = plan.corrections.select_related("endpoint")[:CORRECTIONS_SHOWN]
    return DriftOut(
        is_active=is_active,
        enforce=plan.enforce,
        differences=[
            DifferenceOut(
                kind=found.drift.value,
                endpoint=found.endpoint,
                model=found.model,
                sentence=found.sentence,
                at=found.at,
                is_correctable=found.is_ours,
            )
            for found in (drift(plan) if is_active else ())
        ],
        corrections=[_correction(row) for row in corrections],
        stops=[_stop(row) for row in plan.stops.select_related("endpoint")],
    )


def _correction(row: Correction) -> CorrectionOut:
    where = {"endpoint": row.endpoint.name, "model": row.model_name}
    return CorrectionOut(at=row.at, reason=row.reason, operation=row.operation_id, **where)


def _stop(row: EnforcementStop) -> StopOut:
    return StopOut(since=row.at, endpoint=row.endpoint.name, model=row.model_name, reason=row.reason)
