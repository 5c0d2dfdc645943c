"""``/telemetry/history``: what a GPU did, or what a model held, over any span of time; as JSON or as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Field, Query, Router, Schema

from models_app.api.errors import Problem
from models_app.api.paging import MOST_ID
from models_app.inventory.models import Endpoint, Gpu
from models_app.operations.models import Operation
from models_app.telemetry.history.query import (
    MOST_POINTS,
    POINTS,
    History,
    Series,
    Unanswerable,
    Values,
    history,
    model_history,
)
from models_app.telemetry.history.series import Kind

MOST_OPERATIONS = 500
ONE_HOUR = timedelta(hours=1)
CSV_COLUMNS = ("time", "gpu", "series", "name", "endpoint", "samples", "min", "mean", "max", "p95")
NO_NUL = r"^[^\x00]*$"
Text = Annotated[str, Field(max_length=255, pattern=NO_NUL)]


class Asked(Schema):
    """A GPU, or a model on an endpoint; the last hour unless told otherwise. Times without a zone are UTC."""

    gpu: Annotated[Text | None, Field(description="The GPU's UUID or id.")] = None
    model: Annotated[Text | None, Field(description="A model's name; with `endpoint`.")] = None
    endpoint: Annotated[Text | None, Field(description="The endpoint's name or id; with `model`.")] = None
    since: Annotated[datetime | None, Field(description="From when; an hour before `until` if left out.")] = None
    until: Annotated[datetime | None, Field(description="To when; now if left out.")] = None
    points: Annotated[int, Field(ge=2, le=MOST_POINTS, description="About as many points in time at most.")] = POINTS
    format: Annotated[Literal["json", "csv"], Field(description="CSV has a line for each point of each series.")] = "json"


class MeasuredGpuOut(Schema):
    """A GPU that the series speak of."""

    id: int
    uuid: str
    index: int
    name: str
    host: str
    total_bytes: int
    samples: list[int]
    """How many samples are behind each point."""


class SeriesOut(Schema):
    """One line of a chart: a value at each of ``times``, null where nothing was measured.

    ``kind`` names what it shows with its unit. A share has the model's or the program's name, a model also its endpoint;
    the shares add up to ``used_bytes``. Where points are made of longer steps, ``p95`` is an upper bound.
    """

    id: str
    kind: Kind
    name: str
    gpu: str
    endpoint_id: int | None
    endpoint: str | None
    min: list[float | None]
    mean: list[float | None]
    max: list[float | None]
    p95: list[float | None]


class MarkOut(Schema):
    """An operation within the span, for a mark on the chart; times in seconds since the epoch."""

    id: int
    kind: str
    state: str
    model: str
    endpoint: str
    started: float
    finished: float | None


class HistoryOut(Schema):
    """Series over the same points in time, ``step_seconds`` apart; ``times`` are seconds since the epoch.

    ``resolution_seconds`` is what they were made from: 1 stands for the samples. ``left_out`` counts the smallest shares,
    where a GPU had more than 40.
    """

    since: datetime
    until: datetime
    step_seconds: int
    resolution_seconds: int
    gpus: list[MeasuredGpuOut]
    times: list[int]
    series: list[SeriesOut]
    left_out: int
    operations: list[MarkOut]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found, and for which span."""

    since: datetime
    until: datetime
    gpus: list[Gpu]
    history: History
    operations: QuerySet[Operation]


router = Router(tags=["telemetry"])
CSV_TOO = {"responses": {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}}


@router.get("", response=HistoryOut, summary="The past of a GPU or of a model", openapi_extra=CSV_TOO)
def get_history(request: HttpRequest, asked: Query[Asked]) -> HttpResponse:
    unknown = set(request.GET) - set(Asked.model_fields)
    if unknown:
        raise _invalid(min(unknown), f"There is no such parameter; there are: {', '.join(Asked.model_fields)}.")
    answer = _answer(asked)
    if asked.format == "csv":
        return _csv(answer)
    return HttpResponse(json.dumps(_json(answer), separators=(",", ":")), content_type="application/json")


def _answer(asked: Asked) -> Answer:
    until = _utc(asked.until) or timezone.now()
    since = _utc(asked.since) or _before(until)
    try:
        if asked.gpu and not (asked.model or asked.endpoint):
            gpu = _gpu(asked.gpu)
            operations = Operation.objects.filter(endpoint__host=gpu.host_id)
            return Answer(since, until, [gpu], history(gpu, since, until, asked.points), _between(operations, since, until))
        if asked.model and asked.endpoint and not asked.gpu:
            endpoint = _endpoint(asked.endpoint)
            found = model_history(endpoint, asked.model, since, until, asked.points)
            gpus = list(dict.fromkeys(each.gpu for each in found.series))
            operations = Operation.objects.filter(endpoint=endpoint, model_name=asked.model)
            return Answer(since, until, gpus, found, _between(operations, since, until))
    except Unanswerable as error:
        raise _invalid("since", str(error)) from None
    raise _invalid("gpu", "Name a GPU, or a model and its endpoint.")


def _utc(moment: datetime | None) -> datetime | None:
    """Raises Problem for a time that has no counterpart in UTC or lies outside of any calendar in use."""
    if moment is None:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not 1970 < moment.year < 9000:
        raise _invalid("since", "Times must be from 1971 to 8999.")
    return moment.astimezone(UTC)


def _before(until: datetime) -> datetime:
    return until - ONE_HOUR


def _gpu(text: str) -> Gpu:
    found = Gpu.objects.select_related("host").filter(Q(uuid=text) | _by_id(text)).first()
    if found is None:
        raise Problem(404, "not_found", "No GPU has that UUID or id; /api/v1/gpus lists them.")
    return found


def _endpoint(text: str) -> Endpoint:
    found = Endpoint.objects.filter(Q(name=text) | _by_id(text)).order_by("pk").first()
    if found is None:
        raise Problem(404, "not_found", "No endpoint has that name or id; /api/v1/endpoints lists them.")
    return found


def _by_id(text: str) -> Q:
    return Q(pk=int(text)) if text.isascii() and text.isdigit() and int(text) <= MOST_ID else Q(pk__in=())


def _between(operations: QuerySet[Operation], since: datetime, until: datetime) -> QuerySet[Operation]:
    """The newest that changed memory within the span."""
    changing = operations.filter(kind__in=Operation.MOVES_MEMORY)
    begun = changing.annotate(begun_at=Coalesce("started_at", "created_at")).filter(begun_at__gte=since, begun_at__lt=until)
    return begun.select_related("endpoint").order_by("-pk")[:MOST_OPERATIONS]


# ── JSON ─────────────────────────────────────────────────────────────────────
def _json(answer: Answer) -> dict[str, Any]:
    found = answer.history
    names = _endpoint_names(found)
    return {
        "since": answer.since.isoformat(),
        "until": answer.until.isoformat(),
        "step_seconds": found.step_seconds,
        "resolution_seconds": found.resolution_seconds,
        "gpus": [_gpu_out(gpu, found.samples[gpu.pk]) for gpu in answer.gpus],
        "times": list(found.times),
        "series": [_series_out(series, names) for series in found.series],
        "left_out": found.left_out,
        "operations": [_mark_out(operation) for operation in answer.operations],
    }


def _endpoint_names(found: History) -> dict[int | None, str]:
    wanted = {series.key.endpoint_id for series in found.series if series.key.endpoint_id is not None}
    return dict(Endpoint.objects.filter(pk__in=wanted).values_list("pk", "name")) if wanted else {}


def _gpu_out(gpu: Gpu, samples: list[int]) -> dict[str, Any]:
    described = {"id": gpu.pk, "uuid": gpu.uuid, "index": gpu.index, "name": gpu.name, "host": gpu.host.name}
    return described | {"total_bytes": gpu.total_bytes, "samples": samples}


def _series_out(series: Series, names: dict[int | None, str]) -> dict[str, Any]:
    key = series.key
    return {
        "id": key.column,
        "kind": key.kind.value,
        "name": key.name,
        "gpu": series.gpu.uuid,
        "endpoint_id": key.endpoint_id,
        "endpoint": names.get(key.endpoint_id),
        "min": _rounded(series.min),
        "mean": _rounded(series.mean),
        "max": _rounded(series.max),
        "p95": _rounded(series.p95),
    }


def _rounded(values: Values) -> Values:
    """Hundredths where the figures are small, whole numbers where they are large."""
    return [None if value is None else round(value, 2) if value < 10_000 else round(value) for value in values]


def _mark_out(operation: Operation) -> dict[str, Any]:
    started = operation.started_at or operation.created_at
    return {
        "id": operation.pk,
        "kind": operation.kind,
        "state": operation.state,
        "model": operation.model_name,
        "endpoint": operation.site.name,
        "started": started.timestamp(),
        "finished": operation.finished_at.timestamp() if operation.finished_at else None,
    }


# ── CSV ──────────────────────────────────────────────────────────────────────
def _csv(answer: Answer) -> HttpResponse:
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(CSV_COLUMNS)
    lines.writerows(_lines(answer.history))
    headers = {"Content-Disposition": 'attachment; filename="berth-history.csv"'}
    return HttpResponse(text.getvalue(), content_type="text/csv", headers=headers)


def _lines(found: History) -> Iterator[tuple[object, ...]]:
    """In the order of time; a point without a sample has no line."""
    names = _endpoint_names(found)
    for place, time in enumerate(found.times):
        moment = datetime.fromtimestamp(time, UTC).isoformat()
        for series in found.series:
            if series.mean[place] is not None:
                key, samples = series.key, found.samples[series.gpu.pk][place]
                figures = _rounded([series.min[place], series.mean[place], series.max[place], series.p95[place]])
                who = (_harmless(key.name), _harmless(names.get(key.endpoint_id, "")))
                yield (moment, series.gpu.uuid, key.kind.value, *who, samples, *figures)


def _harmless(text: str) -> str:
    """A spreadsheet takes text that begins so for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _invalid(name: str, message: str) -> Problem:
    return Problem(422, "invalid_parameter", f"{name}: {message}", field=name)
