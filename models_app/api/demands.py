"""``/demands``: what should be served, one by one and as YAML."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from ninja import Field, Router, Schema, Status
from pydantic import BaseModel, ConfigDict

from models_app.api.auth import acting
from models_app.api.operations import problem_of
from models_app.api.paging import Listing, Page
from models_app.operations.refusals import RequestRefused
from models_app.plans import requests
from models_app.plans.demand import spec_of
from models_app.plans.documents import MOST_BYTES, demands_yaml
from models_app.plans.models import Demand

YAML = "application/yaml"
YAML_ANSWER = {"responses": {200: {"description": "YAML.", "content": {YAML: {"schema": {}}}}}}
YAML_BODY = {
    "requestBody": {
        "description": f"At most {MOST_BYTES // 1024} KiB, without anchors, aliases and tags.",
        "required": True,
        "content": {YAML: {"schema": {}}},
    }
}
Names = list[str]


class DemandIn(Schema):
    """A demand. ``model`` is a family or a variant; ``variants`` will do, in order of preference. GPUs are UUIDs."""

    model_config = ConfigDict(extra="forbid")

    name: str
    model: str
    variants: Names = []
    context_length: int = Field(default=8192, description="Tokens per slot that are wanted.")
    least_context_length: int | None = Field(default=None, description="Tokens per slot that will do.")
    slots: int = 1
    tags: Names = []
    priority: int = Field(default=3, description="1 is placed first, 5 last.")
    replicas: int = 1
    on_demand: bool = Field(default=False, description="May be loaded when it is asked for, in a shared swap space.")
    tolerated_wait_seconds: int | None = Field(default=None, description="How long such a load may take.")
    gpu_only: bool = Field(default=False, description="Never leaves layers to the CPU.")
    hosts: Names = Field(default=[], description="Allowed hosts, by name; empty for all.")
    gpus: Names = Field(default=[], description="Allowed GPUs; empty for all.")
    pinned_gpus: Names = Field(default=[], description="Exactly these GPUs, before every priority.")
    together_with: Names = Field(default=[], description="Demands to keep on the same host or GPU.")
    together_on: Literal["host", "gpu"] = "host"
    apart_from: Names = Field(default=[], description="Demands to keep on other hosts or GPUs.")
    apart_on: Literal["host", "gpu"] = "host"


class DemandOut(BaseModel):
    """A demand as it is kept."""

    id: int
    name: str
    model: str
    variants: list[str]
    context_length: int
    least_context_length: int | None
    slots: int
    tags: list[str]
    priority: int
    replicas: int
    on_demand: bool
    tolerated_wait_seconds: int | None
    gpu_only: bool
    hosts: list[str]
    gpus: list[str]
    pinned_gpus: list[str]
    together_with: list[str]
    together_on: str
    apart_from: list[str]
    apart_on: str
    created_at: datetime
    changed_at: datetime


class ImportedOut(BaseModel):
    """The names of the demands that an import added, changed and deleted, and of the schedules that went with these."""

    added: list[str]
    changed: list[str]
    deleted: list[str]
    schedules: list[str]


router = Router(tags=["plans"])
LISTING = Listing[Demand](
    sorts={"id": "id", "name": "name", "model": "model", "priority": "priority", "changed_at": "changed_at"},
    default_sort="priority,name",
    filters={"name": "name", "model": "model", "is_on_demand": "on_demand"},
    searches=("name", "model"),
)


@router.get("", response=Page[DemandOut], summary="List demands", openapi_extra=LISTING.describe())
def list_demands(request: HttpRequest) -> dict[str, Any]:
    return LISTING.page(request, Demand.objects.all(), demand_out)


@router.get("/yaml", summary="All demands as YAML", openapi_extra=YAML_ANSWER)
def export_demands(request: HttpRequest) -> HttpResponse:
    return HttpResponse(demands_yaml(requests.all_specs()), content_type=YAML)


@router.put("/yaml", response=ImportedOut, summary="Import demands from YAML", openapi_extra=YAML_BODY)
def import_demands(request: HttpRequest, replace: bool = False) -> ImportedOut:
    """All or nothing. `replace` deletes the demands that the document lacks, with their schedules. Anchors, aliases and
    tags are refused.
    """
    try:
        done = requests.import_demands(acting(request), request.body.decode(errors="replace"), replace=replace)
    except RequestRefused as refused:
        raise problem_of(refused) from None
    return ImportedOut.model_validate(asdict(done))


@router.get("/{int:demand_id}", response=DemandOut, summary="One demand")
def get_demand(request: HttpRequest, demand_id: int) -> DemandOut:
    return demand_out(get_object_or_404(Demand, pk=demand_id))


@router.post("", response={201: DemandOut}, summary="Add a demand")
def add_demand(request: HttpRequest, response: HttpResponse, body: DemandIn) -> Status[DemandOut]:
    row = _saved(request, body, None)
    response["Location"] = reverse("api:get_demand", args=[row.pk])
    return Status(201, demand_out(row))


@router.put("/{int:demand_id}", response=DemandOut, summary="Change a demand")
def change_demand(request: HttpRequest, demand_id: int, body: DemandIn) -> DemandOut:
    return demand_out(_saved(request, body, get_object_or_404(Demand, pk=demand_id)))


@router.delete("/{int:demand_id}", response={204: None}, summary="Delete a demand")
def delete_demand(request: HttpRequest, demand_id: int) -> Status[None]:
    requests.delete_demand(acting(request), get_object_or_404(Demand, pk=demand_id))
    return Status(204, None)


def demand_out(row: Demand) -> DemandOut:
    """The row as the API shows it."""
    columns = spec_of(row).columns()
    return DemandOut(id=row.pk, created_at=row.created_at, changed_at=row.changed_at, **columns)


def _saved(request: HttpRequest, body: DemandIn, row: Demand | None) -> Demand:
    try:
        return requests.save_demand(acting(request), body.dict(), row)
    except RequestRefused as refused:
        raise problem_of(refused) from None
