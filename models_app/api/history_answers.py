"""How the past is told: the members of the JSON, and the lines of the CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from ninja import Schema

from models_app.inventory.models import Endpoint, Gpu
from models_app.operations.models import Operation
from models_app.telemetry.history.query import History, Series, Values
from models_app.telemetry.history.series import Kind

CSV_COLUMNS = ("time", "gpu", "series", "name", "endpoint", "samples", "min", "mean", "max", "p95")


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


# ── JSON ─────────────────────────────────────────────────────────────────────
def to_json(answer: Answer) -> dict[str, Any]:
    """A ``HistoryOut`` as plain values."""
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
        "min": rounded(series.min),
        "mean": rounded(series.mean),
        "max": rounded(series.max),
        "p95": rounded(series.p95),
    }


def rounded(values: Values) -> Values:
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
def to_csv(answer: Answer) -> HttpResponse:
    """A file to download."""
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
                figures = rounded([series.min[place], series.mean[place], series.max[place], series.p95[place]])
                who = (_harmless(key.name), _harmless(names.get(key.endpoint_id, "")))
                yield (moment, series.gpu.uuid, key.kind.value, *who, samples, *figures)


def _harmless(text: str) -> str:
    """A spreadsheet takes text that begins so for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
