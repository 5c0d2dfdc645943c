"""``/schedules``: at these times a plan is applied, or a demand is made available."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from ninja import Field, Router, Schema, Status
from pydantic import BaseModel, ConfigDict

from models_app.api.auth import acting
from models_app.api.errors import Problem
from models_app.api.operations import problem_of
from models_app.api.paging import Listing, Page
from models_app.operations.refusals import RequestRefused
from models_app.plans import scheduling
from models_app.plans.cron import in_words
from models_app.plans.models import Demand, Plan
from models_app.plans.schedules import Schedule

MOST_ID = 2**63 - 1
Row = TypeVar("Row", Plan, Demand)


class ScheduleIn(Schema):
    """Either ``plan`` or ``demand``. A plan's demands are solved anew against the fleet as it is when it fires."""

    model_config = ConfigDict(extra="forbid")

    name: str
    cron: str = Field(description="Minute, hour, day of the month, month, day of the week: `0 20 * * 1-5`.", max_length=120)
    time_zone: str = Field(default="UTC", description="Such as `Europe/Berlin`.")
    plan: int | None = Field(default=None, description="The id of a plan to apply.", ge=1, le=MOST_ID)
    demand: int | None = Field(default=None, description="The id of a demand to make available.", ge=1, le=MOST_ID)
    when_busy: Schedule.WhenBusy = Field(default=Schedule.WhenBusy.WAIT, description="While an apply is under way.")
    enabled: bool = True


class ScheduleOut(BaseModel):
    """A schedule. ``outcome`` tells in words what became of the last firing, ``operation`` is what it asked for."""

    id: int
    name: str
    cron: str
    in_words: str
    time_zone: str
    plan: int | None
    demand: int | None
    when_busy: str
    enabled: bool
    next_at: datetime | None
    waiting_since: datetime | None
    fired_at: datetime | None
    outcome: str
    operation: int | None
    created_by: str


router = Router(tags=["plans"])
LISTING = Listing[Schedule](
    sorts={"id": "id", "name": "name", "next_at": "next_at"},
    default_sort="name",
    filters={"name": "name", "is_enabled": "enabled"},
    searches=("name",),
)


@router.get("", response=Page[ScheduleOut], summary="List schedules", openapi_extra=LISTING.describe())
def list_schedules(request: HttpRequest) -> dict[str, Any]:
    return LISTING.page(request, Schedule.objects.all(), _out)


@router.get("/{int:schedule_id}", response=ScheduleOut, summary="One schedule")
def get_schedule(request: HttpRequest, schedule_id: int) -> ScheduleOut:
    return _out(get_object_or_404(Schedule, pk=schedule_id))


@router.post("", response={201: ScheduleOut}, summary="Add a schedule")
def add_schedule(request: HttpRequest, response: HttpResponse, body: ScheduleIn) -> Status[ScheduleOut]:
    row = _saved(request, body, None)
    response["Location"] = reverse("api:get_schedule", args=[row.pk])
    return Status(201, _out(row))


@router.put("/{int:schedule_id}", response=ScheduleOut, summary="Change a schedule")
def change_schedule(request: HttpRequest, schedule_id: int, body: ScheduleIn) -> ScheduleOut:
    return _out(_saved(request, body, get_object_or_404(Schedule, pk=schedule_id)))


@router.delete("/{int:schedule_id}", response={204: None}, summary="Delete a schedule")
def delete_schedule(request: HttpRequest, schedule_id: int) -> Status[None]:
    scheduling.delete_schedule(acting(request), get_object_or_404(Schedule, pk=schedule_id))
    return Status(204, None)


def _saved(request: HttpRequest, body: ScheduleIn, row: Schedule | None) -> Schedule:
    try:
        return scheduling.save_schedule(
            acting(request),
            name=body.name,
            cron=body.cron,
            time_zone=body.time_zone,
            plan=_row(Plan, "plan", body.plan),
            demand=_row(Demand, "demand", body.demand),
            when_busy=body.when_busy,
            enabled=body.enabled,
            row=row,
        )
    except RequestRefused as refused:
        raise problem_of(refused) from None


def _row(kind: type[Row], what: str, pk: int | None) -> Row | None:
    if pk is None:
        return None
    found = kind._default_manager.filter(pk=pk).first()
    if found is None:
        raise Problem(422, f"unknown_{what}", f"There is no {what} {pk}.", field=what)
    return found


def _out(row: Schedule) -> ScheduleOut:
    ids = {"plan": row.plan_id, "demand": row.demand_id, "operation": row.operation_id}
    told: dict[str, Any] = {**ids, "in_words": in_words(row.cron)}
    return ScheduleOut(**told, **{name: getattr(row, name) for name in ScheduleOut.model_fields if name not in told})
