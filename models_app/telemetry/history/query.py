"""The past of a GPU or a model over any span of time, in about as many points as a chart has room for."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from models_app.inventory.models import Endpoint, Gpu
from models_app.telemetry.history.maintenance import kept_since
from models_app.telemetry.history.rollup import (
    COUNT,
    RESOLUTIONS,
    columns_of,
    figures_of,
    merge,
    statistics_of,
    summarize,
)
from models_app.telemetry.history.series import SHARES, Key, Kind, key_of
from models_app.telemetry.history.store import floor, tables_of
from models_app.telemetry.history.tables import Table

POINTS, MOST_POINTS = 600, 2000
LONGEST = timedelta(days=3660)
STEPS = (
    *(1, 2, 3, 4, 5, 6, 10, 20, 30, 40),
    *(60 * minutes for minutes in (1, 2, 3, 4, 5, 10, 15, 20, 30)),
    *(3600 * hours for hours in (1, 2, 3, 4, 6, 8, 12, 24, 48, 96, 168, 336)),
)
"""Seconds between two points. Each is a multiple of the resolution that it is made from."""
QUICK_ROWS = 4000
"""So many are read even where fewer would do for the points, for the p95 of finer steps is closer."""
MOST_SHARES = 40
"""Of one GPU: the smaller ones are left out, and the answer says how many."""

Values = list[float | None]


class Unanswerable(ValueError):
    """The span of time makes no sense; the message says why."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart: at every point the least, mean, greatest and p95, or ``None`` where there was no sample."""

    gpu: Gpu
    key: Key
    min: Values
    mean: Values
    max: Values
    p95: Values


@dataclass(frozen=True, slots=True)
class History:
    """Series over the same ``times``, which are seconds since the epoch, ``step_seconds`` apart.

    ``samples`` counts, by GPU's id, the samples behind each point. ``left_out`` are shares that were too many.
    """

    times: Sequence[int]
    step_seconds: int
    resolution_seconds: int
    series: list[Series]
    samples: dict[int, list[int]]
    left_out: int = 0


def history(gpus: Sequence[Gpu], since: datetime, until: datetime, points: int = POINTS) -> History:
    """What GPUs did, and whose their used bytes were. Raises Unanswerable."""
    return _History(since, until, points).of(gpus)


def model_history(endpoint: Endpoint, name: str, since: datetime, until: datetime, points: int = POINTS) -> History:
    """What a model held on each GPU of its endpoint's host, a series each. Raises Unanswerable."""
    gpus = list(Gpu.objects.filter(host=endpoint.host_id).select_related("host"))
    return _History(since, until, points).of(gpus, Key(Kind.MODEL, name, endpoint.pk))


class _History:
    """One question: its points in time, and the resolution that has them."""

    def __init__(self, since: datetime, until: datetime, points: int) -> None:
        span = length(since, until)
        wanted = max(span.total_seconds() / points, 2 * settings.SAMPLE_SECONDS)
        step = next((step for step in STEPS if step >= wanted), STEPS[-1])
        self.resolution = resolution_for(since, span, step)
        self.step = max(step, self.resolution)
        self.start = floor(since.timestamp(), self.step)
        self.times = range(self.start, math.ceil(until.timestamp()), self.step)

    def of(self, gpus: Sequence[Gpu], only: Key | None = None) -> History:
        series, samples, left_out = [], {}, 0
        wanted = None if only is None else columns_of([only.column])
        end = self.times[-1] + self.step
        tables = tables_of([gpu.pk for gpu in gpus], self.resolution, self.start, end, wanted)
        for gpu in gpus:
            steps = self._steps(tables.get(gpu.pk, Table()))
            keys = _keys(steps, only)
            shown = _shown(steps, keys)
            left_out += len(keys) - len(shown)
            places = [int(time - self.start) // self.step for time in steps.times]
            samples[gpu.pk] = [round(value or 0) for value in self._placed(places, steps.columns.get(COUNT, steps.times))]
            series += [self._series(gpu, key, steps, places) for key in shown]
        return History(self.times, self.step, self.resolution, series, samples, left_out)

    def _steps(self, table: Table) -> Table:
        if self.resolution == 1:
            return summarize(table, self.step)
        return table if self.step == self.resolution else merge(table, self.step)

    def _series(self, gpu: Gpu, key: Key, steps: Table, places: list[int]) -> Series:
        return Series(gpu, key, *(self._placed(places, column) for column in statistics_of(steps, key.column)))

    def _placed(self, places: list[int], column: array[float]) -> Values:
        values: Values = [None] * len(self.times)
        for place, value in zip(places, column, strict=True):
            if value >= 0:
                values[place] = value
        return values


def length(since: datetime, until: datetime) -> timedelta:
    """The span of time. Raises Unanswerable where nobody can mean it."""
    if not timedelta() < until - since <= LONGEST:
        raise Unanswerable("“until” must be after “since”, by ten years at most.")
    return until - since


def resolution_for(since: datetime, span: timedelta, step_seconds: float, most_rows: int = QUICK_ROWS) -> int:
    """What to read for steps of that length: fine enough for them, coarse enough to be kept since then."""
    now = timezone.now()
    kept = [each for each in (1, *RESOLUTIONS) if since >= kept_since(each, now)] or [RESOLUTIONS[-1]]
    fine = [each for each in kept if each <= step_seconds] or kept[:1]
    return next((each for each in fine if span.total_seconds() / each <= most_rows), fine[-1])


def _keys(steps: Table, only: Key | None) -> list[Key]:
    found = [key_of(name) for name in figures_of(steps)]
    return [key for key in found if only is None or key == only]


def _shown(steps: Table, keys: list[Key]) -> list[Key]:
    """The GPU's own figures, then the shares, the largest first."""
    own = sorted((key for key in keys if key.kind not in SHARES), key=lambda key: list(Kind).index(key.kind))
    shares = [key for key in keys if key.kind in SHARES]
    shares.sort(key=lambda key: -sum(steps.columns[f"mean|{key.column}"]))
    return own + shares[:MOST_SHARES]
