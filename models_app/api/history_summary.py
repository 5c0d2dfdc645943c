"""``/telemetry/history/summary``: a list of GPUs with what each did over a span of time, in a few numbers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import BaseModel

from models_app.api.history import invalid, span
from models_app.api.history_answers import rounded
from models_app.api.paging import Columns, Listing, Page
from models_app.inventory.models import Gpu
from models_app.telemetry.history.overview import Overview, overviews
from models_app.telemetry.history.query import Unanswerable
from models_app.telemetry.history.rollup import STATISTICS
from models_app.telemetry.history.series import FIGURES


class Span(BaseModel):
    """The last hour unless told otherwise. Times without a zone are UTC."""

    since: datetime | None = None
    until: datetime | None = None


class SpreadOut(BaseModel):
    """A figure over the span; ``p95`` is the nearest rank, or an upper bound where steps were read."""

    min: float
    mean: float
    max: float
    p95: float


class GpuSummaryOut(BaseModel):
    """A GPU and its samples within the span; a figure is null where it was never known."""

    id: int
    uuid: str
    host: str
    host_id: int
    index: int
    name: str
    present: bool
    total_bytes: int
    samples: int
    used_bytes: SpreadOut | None
    utilization_percent: SpreadOut | None
    temperature_celsius: SpreadOut | None
    power_milliwatts: SpreadOut | None


class SummaryOut(Page[GpuSummaryOut]):
    """A page of the list. The span is what was asked for, widened to whole steps of ``resolution_seconds``.

    That is what was read: 1 stands for the samples, which are counted exactly.
    """

    since: datetime
    until: datetime
    resolution_seconds: int


router = Router(tags=["telemetry"])
LISTING = Listing[Gpu](
    sorts={"id": "id", "host": "host__name", "index": "index"},
    default_sort="host,index",
    filters={"host": "host__name", "host_id": "host_id", "uuid": "uuid", "present": "present"},
    searches=("name", "uuid", "host__name"),
    further=frozenset(Span.model_fields),
)
COLUMNS = Columns.of(GpuSummaryOut, without={"samples", *FIGURES.values()}, host="host__name")


@router.get("", response=SummaryOut, summary="What every GPU did, in numbers", openapi_extra=LISTING.describe())
def list_summaries(request: HttpRequest, asked: Query[Span]) -> dict[str, Any]:
    since, until = span(asked.since, asked.until)
    page = LISTING.table(request, Gpu.objects.all(), COLUMNS)
    try:
        found = overviews([gpu["id"] for gpu in page["items"]], since, until)
    except Unanswerable as error:
        raise invalid("since", str(error)) from None
    page["items"] = [{**gpu, **_told(found.by_gpu[gpu["id"]])} for gpu in page["items"]]
    return {**page, "since": found.since, "until": found.until, "resolution_seconds": found.resolution_seconds}


def _told(overview: Overview) -> Mapping[str, Any]:
    spreads = {kind: dict(zip(STATISTICS, rounded(list(each)), strict=True)) for kind, each in overview.figures.items()}
    return {"samples": overview.samples, **{kind.value: spreads.get(kind) for kind in FIGURES.values()}}
