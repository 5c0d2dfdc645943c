"""The list of operations, and the page of one: its steps, figures, log and verdict."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from models_app.inventory.models import Endpoint, Gpu, LoadedModel
from models_app.operations.apply_steps import ApplyStep
from models_app.operations.models import Operation, OperationStep
from models_app.web.access import member_required
from models_app.web.advice import next_step
from models_app.web.apply_view import apply_view
from models_app.web.listing import Filter, Listing
from models_app.web.option_fields import OPTION_WORDS
from models_app.web.stories import stories, tellable
from models_app.web.templatetags.berth import clock

LISTING = Listing[Operation](
    sorts={"id": "id", "kind": "kind", "model": "model_name", "endpoint": "endpoint__name", "state": "state"},
    default_sort="-id",
    searches=("model_name", "endpoint__name", "requested_by"),
    filters={"state": "state", "kind": "kind", "endpoint_id": "endpoint_id"},
)
STATE = Filter("state", "State", tuple((str(value), str(label)) for value, label in Operation.State.choices))
KIND = Filter("kind", "Kind", tuple((str(value), str(label)) for value, label in Operation.Kind.choices))
VERDICTS = {
    "process": "Measured on the model's own process.",
    "gpu": "Measured on the GPU: its used memory moved by about what was expected.",
    "endpoint": "By the server's word alone: this host has no telemetry to measure with.",
}


@member_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Every operation, newest first."""
    endpoints = Endpoint.objects.order_by("name").values_list("pk", "name")[:200]
    where = Filter("endpoint_id", "Endpoint", tuple((str(pk), name) for pk, name in endpoints))
    listed = LISTING.page(request, _operations(), STATE, KIND, where)
    found = list(listed.page)
    rows = list(zip(found, stories(found), strict=True))
    return render(request, "operations/list.html", {"listed": listed, "rows": rows})


@member_required
@require_safe
def detail(request: HttpRequest, operation_id: int) -> HttpResponse:
    """One operation: how far, with which figures, and its story line by line."""
    operation = get_object_or_404(_operations().prefetch_related("log"), pk=operation_id)
    context = {
        "operation": operation,
        "story": stories([operation])[0],
        "steps": [(step, _took(step)) for step in operation.steps.all()],
        "moves_memory": operation.kind in Operation.MOVES_MEMORY,
        "verdict": VERDICTS.get(operation.verified_by, ""),
        "advice": next_step(operation.error_code, operation.kind) if operation.state == Operation.State.FAILED else "",
        "options": _option_words(operation),
        "moved_bytes": _moved_bytes(operation),
        "again": [] if operation.is_active or operation.kind == Operation.Kind.APPLY else same_request(operation),
        "apply": apply_view(operation) if operation.kind == Operation.Kind.APPLY else None,
        "part_of": ApplyStep.objects.filter(part=operation).select_related("operation").first(),
    }
    return render(request, "operations/detail.html", context)


def same_request(operation: Operation) -> list[tuple[str, Any]]:
    """The fields of a form that asks for the same once more, under the names of ``POST /operations/``."""
    fields: list[tuple[str, Any]] = [
        ("kind", operation.kind),
        ("endpoint", operation.endpoint_id),
        ("model", operation.model_name),
    ]
    if operation.kind == Operation.Kind.SWAP:
        loaded = LoadedModel.objects.filter(endpoint=operation.endpoint_id, name__in=operation.unload)
        fields += [("unload", pk) for pk in loaded.values_list("pk", flat=True)]
    names = {"keep_alive_seconds": "keep_alive"}
    return fields + [(names.get(name, name), _typed(value)) for name, value in operation.options.items()]


def _typed(value: Any) -> Any:
    """A value as one would type it into a form."""
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


def _operations() -> QuerySet[Operation]:
    return tellable(Operation.objects.select_related("waiting_for"))


def _option_words(operation: Operation) -> list[tuple[str, str]]:
    return [(OPTION_WORDS.get(name, name), _value_words(name, value)) for name, value in operation.options.items()]


def _value_words(name: str, value: Any) -> str:
    if name == "keep_alive_seconds":
        return "for ever" if value < 0 else clock(value)
    if name == "gpu":
        gpu = Gpu.objects.filter(uuid=value).first()
        return f"GPU {gpu.index} · {gpu.name}" if gpu else str(value)
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _took(step: OperationStep) -> timedelta | None:
    return step.finished_at - step.started_at if step.finished_at and step.started_at else None


def _moved_bytes(operation: Operation) -> int | None:
    if operation.before_bytes is None or operation.after_bytes is None:
        return None
    return operation.after_bytes - operation.before_bytes
