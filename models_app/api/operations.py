"""``/operations``: ask for a change, follow it, cancel it. A ``POST`` answers 202 with the operation's address."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from ninja import Query, Router, Status

from models_app.api.apply_steps import apply_step_out
from models_app.api.auth import acting
from models_app.api.endpoints import public_option, public_options
from models_app.api.errors import Problem
from models_app.api.operation_schemas import LogLineOut, OperationDetail, OperationIn, OperationOut, StepOut
from models_app.api.paging import Columns, Listing, Page
from models_app.inventory.models import Endpoint
from models_app.operations.apply_steps import ApplyStep
from models_app.operations.ends import MOST_WAIT_SECONDS, wait_for_end
from models_app.operations.models import Operation, OperationLog, OperationStep
from models_app.operations.options import OPTION_NAMES, parse_options
from models_app.operations.refusals import RequestRefused
from models_app.operations.requests import Request, request_cancel, submit

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


COLUMNS = Columns.of(OperationOut, endpoint="endpoint__name", model="model_name")
STEP_COLUMNS = Columns.of(StepOut, model="model_name")
LOG_COLUMNS = Columns.of(LogLineOut)
Wait = Annotated[float, Query(ge=0, le=MOST_WAIT_SECONDS)]


@router.get("", response=Page[OperationOut], summary="List operations", openapi_extra=LISTING.describe())
def list_operations(request: HttpRequest) -> dict[str, Any]:
    page = LISTING.table(request, Operation.objects.all(), COLUMNS)
    return {**page, "items": [_shown(row) for row in page["items"]]}


@router.get("/{int:operation_id}", response=OperationDetail, summary="One operation")
def get_operation(request: HttpRequest, operation_id: int, wait: Wait = 0) -> dict[str, Any]:
    """`wait` holds the answer back until the operation has ended, for so many seconds at most: no need to poll."""
    return _detailed(_at_end(_row_of(operation_id), wait))


@router.post("", response={202: OperationDetail}, summary="Load, unload, swap, restart, pull, delete, set the keep-alive")
def create_operation(
    request: HttpRequest, response: HttpResponse, body: OperationIn, wait: Wait = 0
) -> Status[dict[str, Any]]:
    """Send an `Idempotency-Key` header (up to 255 characters): a repeat with the same key answers the first operation.

    `wait` holds the answer back until the operation has ended, for so many seconds at most: its `state` tells.
    """
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
        raise problem_of(refused, _INSISTING.get(refused.code, "")) from None
    response["Location"] = reverse("api:get_operation", args=[operation.pk])
    return Status(202, _detailed(_at_end(COLUMNS.shown(operation), wait)))


@router.post("/{int:operation_id}/cancel", response={202: OperationDetail}, summary="Cancel an operation")
def cancel_operation(request: HttpRequest, operation_id: int) -> Status[dict[str, Any]]:
    """A queued operation ends at once; a running one at its next look, after undoing what it can."""
    operation = get_object_or_404(Operation, pk=operation_id)
    try:
        request_cancel(acting(request), operation)
    except RequestRefused as refused:
        raise problem_of(refused) from None
    return Status(202, detail_of(operation_id))


_INSISTING = {
    "does_not_fit": "load_anyway",
    "loaded_with_other_options": "reload",
    "pinned": "confirmed",
    "model_in_use": "confirmed",
    "foreign_model": "confirmed",
}


def problem_of(refused: RequestRefused, insisting: str = "") -> Problem:
    """A refusal as a problem document, with what is in the way, and the member by which one may insist."""
    members: dict[str, Any] = {}
    if refused.errors:
        members["errors"] = [{"field": _public_field(name), "message": text} for name, text in refused.errors.items()]
    if refused.operation is not None:
        members["operation"] = refused.operation.pk
    if refused.loaded is not None:
        members["loaded_model"] = refused.loaded.pk
    if refused.preview is not None:
        members["preview"] = asdict(refused.preview)
    told = f"{refused.message} Send it with “{insisting}”: true to go on all the same." if insisting else refused.message
    return Problem(refused.status, refused.code, told, **members)


def _public_field(name: str) -> str:
    name = public_option(name)
    return f"options.{name}" if name in OPTION_NAMES else name


def endpoint_of(reference: int | str) -> Endpoint:
    """The endpoint with its host. Raises ``Problem`` (``unknown_endpoint``)."""
    by = {"pk": reference} if isinstance(reference, int) else {"name": reference.replace("\x00", "")}
    found = Endpoint.objects.select_related("host").filter(**by).first() if _storable(reference) else None
    if found is None:
        raise Problem(
            422,
            "unknown_endpoint",
            f"There is no endpoint {str(reference)[:80]!r}; GET endpoints lists them.",
            field="endpoint",
        )
    return found


def _storable(reference: int | str) -> bool:
    return not isinstance(reference, int) or 0 < reference < 2**63


def idempotency_key(request: HttpRequest) -> str:
    """The request's key, or empty. Raises ``Problem``."""
    key = request.headers.get("Idempotency-Key", "")
    if key and not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
        raise Problem(422, "invalid_idempotency_key", "An Idempotency-Key is 1 to 255 printable characters without spaces.")
    return key


def detail_of(operation_id: int) -> dict[str, Any]:
    """An operation with everything that belongs to it. Raises Http404."""
    return _detailed(_row_of(operation_id))


def _row_of(operation_id: int) -> dict[str, Any]:
    return COLUMNS.one(Operation.objects.filter(pk=operation_id))


def _at_end(row: dict[str, Any], wait_seconds: float) -> dict[str, Any]:
    """The row of an active operation anew, once it has ended or the time is over."""
    if not wait_seconds or row["state"] not in Operation.ACTIVE:
        return row
    wait_for_end(row["id"], wait_seconds)
    return _row_of(row["id"])


def _detailed(row: dict[str, Any]) -> dict[str, Any]:
    """With what belongs to it; steps are there once a worker has begun."""
    pk, is_apply = row["id"], row["kind"] == Operation.Kind.APPLY
    steps = OperationStep.objects.filter(operation=pk)
    apply_steps = ApplyStep.objects.filter(operation=pk).select_related("endpoint")
    return {
        **_shown(row),
        "steps": STEP_COLUMNS.read(steps) if row["started_at"] and not is_apply else [],
        "apply_steps": [apply_step_out(step) for step in apply_steps] if is_apply else [],
        "log": LOG_COLUMNS.read(OperationLog.objects.filter(operation=pk)),
    }


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "options": public_options(row["options"])}
