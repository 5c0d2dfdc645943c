"""``/operations``: ask for a change, follow it, cancel it. A ``POST`` answers 202 with the operation's address."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from ninja import Field, Router, Schema, Status
from pydantic import BaseModel, ConfigDict

from models_app.api.apply_steps import ApplyStepOut, apply_step_out
from models_app.api.auth import acting
from models_app.api.endpoints import public_option, public_options
from models_app.api.errors import Problem
from models_app.api.paging import Listing, Page
from models_app.inventory.models import Endpoint
from models_app.operations.models import Operation, OperationLog, OperationStep
from models_app.operations.options import OPTION_NAMES, parse_options
from models_app.operations.refusals import RequestRefused
from models_app.operations.requests import Request, request_cancel, submit

OPTION_SCHEMA = {
    "context_length": {"type": "integer", "minimum": 1, "description": "Tokens per slot."},
    "parallel": {"type": "integer", "minimum": 1, "description": "Slots."},
    "gpu_layers": {"type": "integer", "minimum": 0, "description": "Layers on the GPU."},
    "gpu": {"type": "string", "description": "A GPU's UUID."},
    "batch": {"type": "integer", "minimum": 1},
    "cache_type_k": {"type": "string", "description": "f16, q8_0, …"},
    "cache_type_v": {"type": "string", "description": "f16, q8_0, …"},
    "flash_attention": {"type": "boolean"},
    "keep_alive": {"description": "Seconds, a duration such as `10m`, or `forever`; negative means for ever."},
    "pinned": {"type": "boolean", "description": "Never chosen for eviction by Berth."},
}
Options = Annotated[
    dict[str, Any],
    Field(json_schema_extra={"properties": {name: OPTION_SCHEMA[name] for name in OPTION_NAMES}}),
]
EndpointReference = Annotated[int | str, Field(description="The endpoint's id or its name.", union_mode="left_to_right")]


class OperationIn(Schema):
    """A request. Where the panel answers 409, ``load_anyway``, ``reload`` or ``confirmed`` accept what it names."""

    model_config = ConfigDict(extra="forbid")

    kind: Operation.Kind
    endpoint: EndpointReference
    model: str
    unload: list[int] = Field(default=[], description="For a swap: ids of loaded models to take out first.", max_length=100)
    options: Options = {}
    load_anyway: bool = False
    reload: bool = False
    confirmed: bool = False


class StepOut(BaseModel):
    """One outside effect of an operation."""

    position: int
    action: str
    model: str
    state: str
    started_at: datetime | None
    finished_at: datetime | None
    before_bytes: int | None
    after_bytes: int | None
    verified_by: str
    detail: str


class LogLineOut(BaseModel):
    """One line of an operation's story."""

    at: datetime
    text: str


class OperationOut(BaseModel):
    """An operation. ``before_bytes`` and ``after_bytes`` are used VRAM; ``verified_by`` says what proved its success.

    An apply has no endpoint; its title is in ``model``. It may follow another, which it resumes or rolls back.
    """

    id: int
    kind: str
    state: str
    phase: str
    endpoint: str | None
    endpoint_id: int | None
    model: str
    options: dict[str, Any]
    follows_id: int | None
    unload: list[Any]
    requested_by: str
    via: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    attempt: int
    progress_bytes: int | None
    progress_total_bytes: int | None
    estimate: dict[str, Any]
    before_bytes: int | None
    after_bytes: int | None
    verified_by: str
    result: dict[str, Any]
    error_code: str
    error_message: str


class OperationDetail(OperationOut):
    """An operation with its steps and its log; an apply has ``apply_steps`` instead of steps."""

    steps: list[StepOut]
    apply_steps: list[ApplyStepOut]
    log: list[LogLineOut]


router = Router(tags=["operations"])
LISTING = Listing[Operation](
    sorts={"id": "id", "created_at": "created_at", "finished_at": "finished_at", "state": "state", "kind": "kind"},
    default_sort="-id",
    filters={
        "kind": "kind",
        "state": "state",
        "endpoint": "endpoint__name",
        "endpoint_id": "endpoint_id",
        "model": "model_name",
        "requested_by": "requested_by",
    },
    searches=("model_name", "endpoint__name", "requested_by"),
    choices={"kind": frozenset(Operation.Kind.values), "state": frozenset(Operation.State.values)},
)


@router.get("", response=Page[OperationOut], summary="List operations", openapi_extra=LISTING.describe())
def list_operations(request: HttpRequest) -> dict[str, Any]:
    return LISTING.page(request, operations(), lambda row: OperationOut(**_members(row)))


@router.get("/{int:operation_id}", response=OperationDetail, summary="One operation")
def get_operation(request: HttpRequest, operation_id: int) -> OperationDetail:
    return detail_of(get_object_or_404(operations(), pk=operation_id))


@router.post("", response={202: OperationDetail}, summary="Load, unload, swap, restart, pull, delete, set the keep-alive")
def create_operation(request: HttpRequest, response: HttpResponse, body: OperationIn) -> Status[OperationDetail]:
    """Send an `Idempotency-Key` header (up to 255 characters): a repeat with the same key answers the first operation."""
    try:
        operation = submit(
            Request(
                kind=body.kind,
                actor=acting(request),
                endpoint=endpoint_of(body.endpoint),
                model=body.model,
                options=parse_options(body.options),
                unload=tuple(body.unload),
                load_anyway=body.load_anyway,
                reload=body.reload,
                confirmed=body.confirmed,
                idempotency_key=idempotency_key(request),
            )
        )
    except RequestRefused as refused:
        raise problem_of(refused) from None
    response["Location"] = reverse("api:get_operation", args=[operation.pk])
    return Status(202, detail_of(operations().get(pk=operation.pk)))


@router.post("/{int:operation_id}/cancel", response={202: OperationDetail}, summary="Cancel an operation")
def cancel_operation(request: HttpRequest, operation_id: int) -> Status[OperationDetail]:
    """A queued operation ends at once; a running one at its next look, after undoing what it can."""
    operation = get_object_or_404(operations(), pk=operation_id)
    try:
        request_cancel(acting(request), operation)
    except RequestRefused as refused:
        raise problem_of(refused) from None
    return Status(202, detail_of(operations().get(pk=operation_id)))


def problem_of(refused: RequestRefused) -> Problem:
    """A refusal as a problem document, with what is in the way."""
    members: dict[str, Any] = {}
    if refused.errors:
        members["errors"] = [{"field": _public_field(name), "message": text} for name, text in refused.errors.items()]
    if refused.operation is not None:
        members["operation"] = refused.operation.pk
    if refused.loaded is not None:
        members["loaded_model"] = refused.loaded.pk
    if refused.preview is not None:
        members["preview"] = asdict(refused.preview)
    return Problem(refused.status, refused.code, refused.message, **members)


def _public_field(name: str) -> str:
    name = public_option(name)
    return f"options.{name}" if name in OPTION_NAMES else name


def endpoint_of(reference: int | str) -> Endpoint:
    """The endpoint with its host. Raises ``Problem`` (``unknown_endpoint``)."""
    by = {"pk": reference} if isinstance(reference, int) else {"name": reference.replace("\x00", "")}
    found = Endpoint.objects.select_related("host").filter(**by).first() if _storable(reference) else None
    if found is None:
        raise Problem(422, "unknown_endpoint", f"There is no endpoint {reference!r}.", field="endpoint")
    return found


def _storable(reference: int | str) -> bool:
    return not isinstance(reference, int) or 0 < reference < 2**63


def idempotency_key(request: HttpRequest) -> str:
    """The request's key, or empty. Raises ``Problem``."""
    key = request.headers.get("Idempotency-Key", "")
    if key and not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
        raise Problem(422, "invalid_idempotency_key", "An Idempotency-Key is 1 to 255 printable characters without spaces.")
    return key


def operations() -> QuerySet[Operation]:
    """All of them, with what an answer needs."""
    return Operation.objects.select_related("endpoint")


def _members(row: Operation) -> dict[str, Any]:
    same = set(OperationOut.model_fields) - {"endpoint", "model", "options"}
    options = public_options(row.options)
    named = {"endpoint": row.endpoint.name if row.endpoint else None, "model": row.model_name, "options": options}
    return {**named, **{name: getattr(row, name) for name in same}}


def detail_of(row: Operation) -> OperationDetail:
    """An operation with everything that belongs to it."""
    return OperationDetail(
        **_members(row),
        steps=[_step(step) for step in row.steps.all()],
        apply_steps=[apply_step_out(step) for step in row.apply_steps.select_related("endpoint")],
        log=[_line(line) for line in row.log.all()],
    )


def _step(row: OperationStep) -> StepOut:
    same = set(StepOut.model_fields) - {"model"}
    return StepOut(model=row.model_name, **{name: getattr(row, name) for name in same})


def _line(row: OperationLog) -> LogLineOut:
    return LogLineOut(at=row.at, text=row.text)
