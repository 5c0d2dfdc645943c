"""The rows of the memory: chunks of seconds, and chunks of steps for the hours that have been rolled up.

What is not rolled up yet is rolled up as it is read, so that a reader never sees the difference.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from typing import TypeVar

from django.db.models import QuerySet

from models_app.telemetry.history.rollup import HOUR_SECONDS, RESOLUTIONS, refill, summarize
from models_app.telemetry.history.tables import DamagedChunk, Table, joined, unpack
from models_app.telemetry.models import SecondsChunk, StepsChunk

log = logging.getLogger(__name__)

MINUTE_SECONDS = 60
DAY_SECONDS = 86_400
SPANS = {10: HOUR_SECONDS, 60: HOUR_SECONDS, HOUR_SECONDS: 10 * DAY_SECONDS}
"""How much time a chunk of each resolution covers, in seconds."""

Columns = Collection[str] | None
"""Those that are wanted of each table, or ``None`` for all: what is not unpacked costs nothing."""
Chunk = TypeVar("Chunk", SecondsChunk, StepsChunk)


def moment(seconds: float) -> datetime:
    """Seconds since the epoch as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def floor(time: float, step_seconds: int) -> int:
    """The start of the step that a time is in."""
    return int(time // step_seconds) * step_seconds


def tables_of(
    gpu_ids: Collection[int], resolution: int, since: float, until: float, wanted: Columns = None
) -> dict[int, Table]:
    """The samples of several GPUs, where the resolution is 1, or their steps, by their ids."""
    if resolution == 1:
        return seconds_of_each(gpu_ids, since, until, wanted)
    return steps_of_each(gpu_ids, resolution, since, until, wanted)


def seconds_of(gpu_id: int, since: float, until: float) -> Table:
    """The samples of a GPU from ``since`` to before ``until``."""
    return seconds_of_each([gpu_id], since, until).get(gpu_id, Table())


def seconds_of_each(gpu_ids: Collection[int], since: float, until: float, wanted: Columns = None) -> dict[int, Table]:
    """The same of several GPUs, by their ids, in one query. A GPU without any sample may be missing."""
    first = moment(floor(since, MINUTE_SECONDS))
    rows = SecondsChunk.objects.filter(gpu_id__in=gpu_ids, starts_at__gte=first, starts_at__lt=moment(until))
    return {gpu_id: table.between(since, until) for gpu_id, table in _read(rows, wanted)}


def steps_of(gpu_id: int, resolution: int, since: float, until: float) -> Table:
    """The steps of a GPU that begin from ``since`` to before ``until``."""
    return steps_of_each([gpu_id], resolution, since, until).get(gpu_id, Table())


def steps_of_each(
    gpu_ids: Collection[int], resolution: int, since: float, until: float, wanted: Columns = None
) -> dict[int, Table]:
    """The same of several GPUs, by their ids. The number of queries goes by the hours that are not rolled up."""
    first = moment(floor(since, SPANS[resolution]))
    rows = StepsChunk.objects.filter(gpu_id__in=gpu_ids, resolution_seconds=resolution)
    steps = dict(_read(rows.filter(starts_at__gte=first, starts_at__lt=moment(until)), wanted))
    for hour, pending in pending_hours(gpu_ids, floor(since, HOUR_SECONDS), until).items():
        for gpu_id, rolled in rolled_hours(pending, hour, [resolution], wanted).items():
            steps[gpu_id] = spliced(steps.get(gpu_id, Table()), hour, rolled.get(resolution, Table()))
    return {gpu_id: table.between(since, until) for gpu_id, table in steps.items()}


def steps_chunk(gpu_id: int, resolution: int, start: int) -> Table:
    """The steps of one chunk."""
    rows = StepsChunk.objects.filter(gpu_id=gpu_id, resolution_seconds=resolution, starts_at=moment(start))
    return dict(_read(rows)).get(gpu_id, Table())


def spliced(steps: Table, hour: int, news: Table) -> Table:
    """The steps with those of one hour exchanged."""
    return joined([steps.between(0, hour), news, steps.between(hour + HOUR_SECONDS, math.inf)])


def pending_hours(gpu_ids: Collection[int], since: float, until: float) -> dict[int, set[int]]:
    """The hours with samples that are not rolled up, in the order of time, each with its GPUs."""
    rows = SecondsChunk.objects.filter(
        gpu_id__in=gpu_ids, pending=True, starts_at__lt=moment(until), starts_at__gte=moment(since)
    )
    hours: dict[int, set[int]] = {}
    for starts_at, gpu_id in rows.order_by("starts_at").values_list("starts_at", "gpu_id"):
        hours.setdefault(floor(starts_at.timestamp(), HOUR_SECONDS), set()).add(gpu_id)
    return hours


def rolled_hours(
    gpu_ids: Collection[int], hour: int, resolutions: Sequence[int] = RESOLUTIONS, wanted: Columns = None
) -> dict[int, dict[int, Table]]:
    """The steps of one hour by GPU and resolution, made from samples and from what was kept of those that are gone."""
    seconds = seconds_of_each(gpu_ids, hour, hour + HOUR_SECONDS, wanted)
    sealed: dict[int, dict[int, Table]] = {}
    for row in StepsChunk.objects.filter(gpu_id__in=gpu_ids, starts_at=moment(hour), sealed=True):
        sealed.setdefault(row.gpu_id, {})[row.resolution_seconds] = _table(row, wanted)
    return {gpu_id: _rolled(seconds.get(gpu_id, Table()), sealed.get(gpu_id), resolutions) for gpu_id in gpu_ids}


def _rolled(seconds: Table, sealed: dict[int, Table] | None, resolutions: Sequence[int]) -> dict[int, Table]:
    return refill(seconds, sealed) if sealed else {each: summarize(seconds, each) for each in resolutions}


def _read(rows: QuerySet[Chunk], wanted: Columns = None) -> Iterator[tuple[int, Table]]:
    """Each GPU's chunks as one table, in the order of time."""
    chunks = rows.order_by("gpu_id", "starts_at").iterator()
    for gpu_id, of_gpu in groupby(chunks, key=attrgetter("gpu_id")):
        yield gpu_id, joined(_table(row, wanted) for row in of_gpu)


def _table(row: SecondsChunk | StepsChunk, wanted: Columns) -> Table:
    """A damaged chunk is a gap, not the end of the page."""
    try:
        return unpack(bytes(row.payload), row.starts_at.timestamp(), wanted)
    except DamagedChunk as error:
        log.error("the chunk of GPU %s at %s cannot be read: %s", row.gpu_id, row.starts_at, error)
        return Table()
