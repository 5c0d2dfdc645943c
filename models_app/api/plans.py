"""``/plans``: have a plan solved, read it, compare two. ``POST`` answers 202; ready is what is no longer solving."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from ninja import Field, Router, Schema, Status
from pydantic import BaseModel, ConfigDict

from models_app.api.auth import acting
from models_app.api.demands import YAML, YAML_ANSWER, DemandIn
from models_app.api.operations import problem_of
from models_app.api.paging import Listing, Page
from models_app.operations.refusals import RequestRefused
from models_app.plans import requests
from models_app.plans.comparing import compare
from models_app.plans.demand import read_demand
from models_app.plans.documents import MOST_DEMANDS, demands_yaml
from models_app.plans.freshness import differences
from models_app.plans.models import Plan
from models_app.plans.solving import DEFAULT_SECONDS, MOST_SECONDS


class AddedGpuIn(Schema):
    """An imaginary GPU on a host that exists."""

    model_config = ConfigDict(extra="forbid")

    host: str
    bytes: int = Field(description="From 1 GiB to 1 TiB.")
    name: str = "Imaginary GPU"


class ChangesIn(Schema):
    """A what-if: nothing of it is made so."""

    model_config = ConfigDict(extra="forbid")

    removed_gpus: list[str] = Field(default=[], description="UUIDs.")
    added_gpus: list[AddedGpuIn] = []
    headroom_percent: float | None = Field(default=None, description="Of every device, instead of the setting.")


class PlanIn(Schema):
    """What to solve: all demands as they are, unless ``demands`` says otherwise."""

    model_config = ConfigDict(extra="forbid")

    name: str = ""
    demands: list[DemandIn] | None = Field(default=None, max_length=MOST_DEMANDS)
    changes: ChangesIn = ChangesIn()
    seconds: float = Field(default=DEFAULT_SECONDS, description=f"Of solving, 0.1 to {MOST_SECONDS:g}.")


class PlanOut(BaseModel):
    """A plan without its parts. ``is_proven``: optimal over the enumerated options."""

    id: int
    name: str
    state: str
    is_proven: bool
    is_what_if: bool
    requested_by: str
    created_at: datetime
    solved_at: datetime | None
    applied_at: datetime | None
    error_code: str
    error_message: str


class PlanDetail(PlanOut):
    """A whole plan. Bytes are by memory pool: a GPU's UUID, or ``ram:`` and a host. ``difference``: changed since then."""

    demands: list[dict[str, Any]]
    changes: dict[str, Any]
    seconds: float
    today: list[dict[str, Any]]
    instances: list[dict[str, Any]]
    steps: list[dict[str, Any]]
    impossible: list[dict[str, Any]]
    goals: list[dict[str, Any]]
    unmet: list[dict[str, Any]]
    swap_bytes: dict[str, int]
    pools: list[dict[str, Any]]
    notes: list[str]
    figures: dict[str, Any]
    fingerprint: str
    difference: list[str]


class ComparedOut(BaseModel):
    """Two plans side by side."""

    first: PlanOut
    second: PlanOut
    goals: list[dict[str, Any]]
    demands: list[dict[str, Any]]


router = Router(tags=["plans"])
LISTING = Listing[Plan](
    sorts={"id": "id", "name": "name", "created_at": "created_at", "state": "state"},
    default_sort="-id",
    filters={"name": "name", "state": "state", "requested_by": "requested_by"},
    searches=("name", "requested_by"),
    choices={"state": frozenset(Plan.State.values)},
)


@router.get("", response=Page[PlanOut], summary="List plans", openapi_extra=LISTING.describe())
def list_plans(request: HttpRequest) -> dict[str, Any]:
    return LISTING.page(request, Plan.objects.defer(*Plan.PARTS), _plan_out)


@router.post("", response={202: PlanOut}, summary="Solve a plan")
def create_plan(request: HttpRequest, response: HttpResponse, body: PlanIn) -> Status[PlanOut]:
    """Nothing is loaded or unloaded. Read the plan until its `state` is no longer `solving`."""
    demands = None if body.demands is None else [demand.dict() for demand in body.demands]
    try:
        plan = requests.request_plan(
            acting(request), name=body.name, demands=demands, changes=body.changes.dict(), seconds=body.seconds
        )
    except RequestRefused as refused:
        raise problem_of(refused) from None
    response["Location"] = reverse("api:get_plan", args=[plan.pk])
    return Status(202, _plan_out(plan))


@router.get("/{int:plan_id}", response=PlanDetail, summary="One plan")
def get_plan(request: HttpRequest, plan_id: int) -> PlanDetail:
    plan = get_object_or_404(Plan, pk=plan_id)
    same = set(PlanDetail.model_fields) - set(PlanOut.model_fields) - {"pools", "difference"}
    found = differences(plan) if plan.state == Plan.State.DRAFT else plan.difference
    return PlanDetail(
        **_plan_out(plan).model_dump(),
        **{name: getattr(plan, name) for name in same},
        pools=plan.fleet.get("pools", []),
        difference=found,
    )


@router.get("/{int:plan_id}/yaml", summary="A plan's demands as YAML", openapi_extra=YAML_ANSWER)
def export_plan(request: HttpRequest, plan_id: int) -> HttpResponse:
    plan = get_object_or_404(Plan, pk=plan_id)
    return HttpResponse(demands_yaml(read_demand(document) for document in plan.demands), content_type=YAML)


@router.get("/{int:plan_id}/compare/{int:other_id}", response=ComparedOut, summary="Two plans side by side")
def compare_plans(request: HttpRequest, plan_id: int, other_id: int) -> ComparedOut:
    first, second = get_object_or_404(Plan, pk=plan_id), get_object_or_404(Plan, pk=other_id)
    compared = compare(first, second)
    return ComparedOut(
        first=_plan_out(first),
        second=_plan_out(second),
        goals=[asdict(goal) for goal in compared.goals],
        demands=[asdict(demand) | {"differs": demand.differs} for demand in compared.demands],
    )


@router.delete("/{int:plan_id}", response={204: None}, summary="Delete a plan")
def delete_plan(request: HttpRequest, plan_id: int) -> Status[None]:
    """What it brought about stays as it is."""
    requests.delete_plan(acting(request), get_object_or_404(Plan, pk=plan_id))
    return Status(204, None)


def _plan_out(plan: Plan) -> PlanOut:
    return PlanOut(id=plan.pk, **{name: getattr(plan, name) for name in PlanOut.model_fields if name != "id"})
