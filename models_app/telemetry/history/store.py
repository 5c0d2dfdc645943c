"""The rows of the memory: chunks of seconds, and chunks of steps for the hours that have been rolled up.

What is not rolled up yet is rolled up as it is read, so that a reader never sees the difference.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from models_app.telemetry.history.rollup import HOUR_SECONDS, RESOLUTIONS, refill, summarize
from models_app.telemetry.history.tables import DamagedChunk, Table, joined, unpack
from models_app.telemetry.models import SecondsChunk, StepsChunk

log = logging.getLogger(__name__)

MINUTE_SECONDS = 60
DAY_SECONDS = 86_400
SPANS = {10: HOUR_SECONDS, 60: HOUR_SECONDS, HOUR_SECONDS: 10 * DAY_SECONDS}
"""How much time a chunk of each resolution covers, in seconds."""


def moment(seconds: float) -> datetime:
    """Seconds since the epoch as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def floor(time: float, step_seconds: int) -> int:
    """The start of the step that a time is in."""
    return int(time // step_seconds) * step_seconds


def seconds_of(gpu_id: int, since: float, until: float) -> Table:
    """The samples of a GPU from ``since`` to before ``until``."""
    first = moment(floor(since, MINUTE_SECONDS))
    rows = SecondsChunk.objects.filter(gpu_id=gpu_id, starts_at__gte=first, starts_at__lt=moment(until))
    return _read(rows.order_by("starts_at").iterator()).between(since, until)


def steps_of(gpu_id: int, resolution: int, since: float, until: float) -> Table:
    """The steps of a GPU that begin from ``since`` to before ``until``."""
    first = moment(floor(since, SPANS[resolution]))
    rows = StepsChunk.objects.filter(gpu_id=gpu_id, resolution_seconds=resolution)
    steps = _read(rows.filter(starts_at__gte=first, starts_at__lt=moment(until)).order_by("starts_at"))
    for hour in pending_hours(gpu_id, floor(since, HOUR_SECONDS), until):
        steps = spliced(steps, hour, rolled_hour(gpu_id, hour, [resolution]).get(resolution, Table()))
    return steps.between(since, until)


def steps_chunk(gpu_id: int, resolution: int, start: int) -> Table:
    """The steps of one chunk."""
    return _read(StepsChunk.objects.filter(gpu_id=gpu_id, resolution_seconds=resolution, starts_at=moment(start)))


def spliced(steps: Table, hour: int, news: Table) -> Table:
    """The steps with those of one hour exchanged."""
    return joined([steps.between(0, hour), news, steps.between(hour + HOUR_SECONDS, math.inf)])


def pending_hours(gpu_id: int, since: float, until: float) -> list[int]:
    """The hours with samples that are not rolled up, in the order of time."""
    rows = SecondsChunk.objects.filter(
        gpu_id=gpu_id, pending=True, starts_at__lt=moment(until), starts_at__gte=moment(since)
    )
    starts = rows.values_list("starts_at", flat=True)
    return sorted({floor(start.timestamp(), HOUR_SECONDS) for start in starts})


def rolled_hour(gpu_id: int, hour: int, resolutions: Sequence[int] = RESOLUTIONS) -> dict[int, Table]:
    """The steps of one hour by resolution, made from its samples and from what was kept of those that are gone."""
    seconds = seconds_of(gpu_id, hour, hour + HOUR_SECONDS)
    kept = StepsChunk.objects.filter(gpu_id=gpu_id, starts_at=moment(hour), sealed=True)
    sealed = {row.resolution_seconds: _table(row) for row in kept}
    return refill(seconds, sealed) if sealed else {each: summarize(seconds, each) for each in resolutions}


def _read(rows: Iterable[SecondsChunk | StepsChunk]) -> Table:
    return joined(_table(row) for row in rows)


def _table(row: SecondsChunk | StepsChunk) -> Table:
    """A damaged chunk is a gap, not the end of the page."""
    try:
        return unpack(bytes(row.payload), row.starts_at.timestamp())
    except DamagedChunk as error:
        log.error("the chunk of GPU %s at %s cannot be read: %s", row.gpu_id, row.starts_at, error)
        return Table()
