"""``/telemetry/history``: what GPUs did, or what a model held, over any span of time; as JSON or as CSV."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Field, Query, Router, Schema

from models_app.api.errors import Problem
from models_app.api.history_answers import Answer, HistoryOut, to_csv, to_json
from models_app.inventory.models import Endpoint, Gpu, Host
from models_app.inventory.references import row_id
from models_app.operations.models import Operation
from models_app.telemetry.history.query import MOST_POINTS, POINTS, Unanswerable, history, model_history

MOST_GPUS = 64
"""In one answer with series; the summary has all."""
MOST_POINTS_TOGETHER = 16_000
"""Of several GPUs: each has its part of them, so that an answer has a bound."""
MOST_OPERATIONS = 500
ONE_HOUR = timedelta(hours=1)
NO_NUL = r"^[^\x00]*$"
Text = Annotated[str, Field(max_length=255, pattern=NO_NUL)]


class Asked(Schema):
    """GPUs, a host, or a model on an endpoint; the last hour unless told otherwise. Times without a zone are UTC."""

    gpu: Annotated[list[Text], Field(max_length=MOST_GPUS, description="A GPU's UUID or id; may be repeated.")] = []
    host: Annotated[Text | None, Field(description="A host's name or id, for all of its GPUs.")] = None
    model: Annotated[Text | None, Field(description="A model's name; with `endpoint`.")] = None
    endpoint: Annotated[Text | None, Field(description="The endpoint's name or id; with `model`.")] = None
    since: Annotated[datetime | None, Field(description="From when; an hour before `until` if left out.")] = None
    until: Annotated[datetime | None, Field(description="To when; now if left out.")] = None
    points: Annotated[int, Field(ge=2, le=MOST_POINTS, description="About as many points in time at most.")] = POINTS
    format: Annotated[Literal["json", "csv"], Field(description="CSV has a line for each point of each series.")] = "json"


router = Router(tags=["telemetry"])
CSV_TOO = {"responses": {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}}


@router.get("", response=HistoryOut, summary="The past of GPUs or of a model", openapi_extra=CSV_TOO)
def get_history(request: HttpRequest, asked: Query[Asked]) -> HttpResponse:
    unknown = set(request.GET) - set(Asked.model_fields)
    if unknown:
        raise invalid(min(unknown), f"There is no such parameter; there are: {', '.join(Asked.model_fields)}.")
    answer = _answer(asked, *span(asked.since, asked.until))
    if asked.format == "csv":
        return to_csv(answer)
    return HttpResponse(json.dumps(to_json(answer), separators=(",", ":")), content_type="application/json")


def span(since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    """The asked span in UTC, the last hour unless told otherwise.

    Raises Problem for a time that has no counterpart in UTC or lies outside of any calendar in use.
    """
    until = _utc(until) or timezone.now()
    return _utc(since) or until - ONE_HOUR, until


def _answer(asked: Asked, since: datetime, until: datetime) -> Answer:
    try:
        if asked.model and asked.endpoint and not (asked.gpu or asked.host):
            endpoint = _endpoint(asked.endpoint)
            found = model_history(endpoint, asked.model, since, until, asked.points)
            gpus = list(dict.fromkeys(each.gpu for each in found.series))
            operations = Operation.objects.filter(endpoint=endpoint, model_name=asked.model)
        elif bool(asked.gpu) != bool(asked.host) and not (asked.model or asked.endpoint):
            gpus = _gpus(asked.gpu) if asked.gpu else _gpus_of(_host(asked.host or ""))
            points = min(asked.points, MOST_POINTS_TOGETHER // max(1, len(gpus)))
            found = history(gpus, since, until, points)
            operations = Operation.objects.filter(endpoint__host__in={gpu.host_id for gpu in gpus})
        else:
            raise invalid("gpu", "Name GPUs, or a host, or a model and its endpoint.")
    except Unanswerable as error:
        raise invalid("since", str(error)) from None
    return Answer(since, until, gpus, found, _between(operations, since, until))


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not 1970 < moment.year < 9000:
        raise invalid("since", "Times must be from 1971 to 8999.")
    return moment.astimezone(UTC)


def _gpus(texts: Sequence[str]) -> list[Gpu]:
    """In the order in which they are named, each once."""
    ids = [pk for text in texts if (pk := row_id(text))]
    by_name: dict[str, Gpu] = {}
    for gpu in Gpu.objects.select_related("host").filter(Q(uuid__in=texts) | Q(pk__in=ids)):
        by_name |= {str(gpu.pk): gpu, gpu.uuid: gpu}
    if not by_name.keys() >= {*texts}:
        raise Problem(404, "not_found", "No GPU has that UUID or id; /api/v1/gpus lists them.")
    return list(dict.fromkeys(by_name[text] for text in texts))


def _gpus_of(host: Host) -> list[Gpu]:
    found = list(Gpu.objects.select_related("host").filter(host=host).order_by("index", "pk")[: MOST_GPUS + 1])
    if len(found) > MOST_GPUS:
        raise invalid("host", f"It has more than {MOST_GPUS} GPUs: name some of them.")
    return found


def _host(text: str) -> Host:
    found = Host.objects.filter(Q(name=text) | _by_id(text)).order_by("pk").first()
    if found is None:
        raise Problem(404, "not_found", "No host has that name or id; /api/v1/hosts lists them.")
    return found


def _endpoint(text: str) -> Endpoint:
    found = Endpoint.objects.filter(Q(name=text) | _by_id(text)).order_by("pk").first()
    if found is None:
        raise Problem(404, "not_found", "No endpoint has that name or id; /api/v1/endpoints lists them.")
    return found


def _by_id(text: str) -> Q:
    return Q(pk=row_id(text))


def _between(operations: QuerySet[Operation], since: datetime, until: datetime) -> QuerySet[Operation]:
    """The newest that changed memory within the span."""
    changing = operations.filter(kind__in=Operation.MOVES_MEMORY)
    begun = changing.annotate(begun_at=Coalesce("started_at", "created_at")).filter(begun_at__gte=since, begun_at__lt=until)
    return begun.select_related("endpoint").order_by("-pk")[:MOST_OPERATIONS]


def invalid(name: str, message: str) -> Problem:
    """The refusal of a parameter."""
    return Problem(422, "invalid_parameter", f"{name}: {message}", field=name)
