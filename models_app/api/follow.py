"""``/operations/{id}/resume`` and ``/roll-back``: what becomes of an apply that has ended. Both answer 202."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from ninja import Router, Status

from models_app.accounts.roles import Actor
from models_app.api.auth import acting
from models_app.api.operation_schemas import OperationDetail
from models_app.api.operations import detail_of, problem_of
from models_app.operations.follow import request_resume, request_roll_back
from models_app.operations.models import Operation
from models_app.operations.refusals import RequestRefused

router = Router(tags=["operations"])


@router.post("/{int:operation_id}/resume", response={202: OperationDetail}, summary="Continue an apply that stopped")
def resume_operation(request: HttpRequest, response: HttpResponse, operation_id: int) -> Any:
    """A new apply takes over what is done and still stands, and does the rest."""
    return _followed(request, response, operation_id, request_resume)


@router.post("/{int:operation_id}/roll-back", response={202: OperationDetail}, summary="Undo an apply that has ended")
def roll_back_operation(request: HttpRequest, response: HttpResponse, operation_id: int) -> Any:
    """A new apply undoes what was done, the last first: loaded models go, unloaded ones return with their options."""
    return _followed(request, response, operation_id, request_roll_back)


def _followed(
    request: HttpRequest, response: HttpResponse, operation_id: int, follow: Callable[[Actor, Operation], Operation]
) -> Status[dict[str, Any]]:
    try:
        operation = follow(acting(request), get_object_or_404(Operation, pk=operation_id))
    except RequestRefused as refused:
        raise problem_of(refused) from None
    response["Location"] = reverse("api:get_operation", args=[operation.pk])
    return Status(202, detail_of(operation.pk))
