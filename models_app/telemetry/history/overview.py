"""Many GPUs over a span of time in a few numbers each: how many samples there are, and what lies behind its figures."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from models_app.telemetry.history.query import length, resolution_for
from models_app.telemetry.history.rollup import Figures, columns_of, overall
from models_app.telemetry.history.series import FIGURES, Kind
from models_app.telemetry.history.store import floor, moment, tables_of
from models_app.telemetry.history.tables import Table

MOST_ROWS = 1500
"""Read of a GPU, for there are many of them: 25 minutes by the second, four hours by steps of 10 s, a day by the minute."""


@dataclass(frozen=True, slots=True)
class Overview:
    """One GPU: its samples, and the least, mean, greatest and p95 of each figure that was ever known."""

    samples: int = 0
    figures: dict[Kind, Figures] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Overviews:
    """Several GPUs, by their ids. The span is that of the question, widened to whole steps of what was read.

    ``resolution_seconds`` is what was read: 1 stands for the samples. With steps, p95 is an upper bound.
    """

    since: datetime
    until: datetime
    resolution_seconds: int
    by_gpu: dict[int, Overview]


def overviews(gpu_ids: Collection[int], since: datetime, until: datetime) -> Overviews:
    """What these GPUs did, by a number of queries that does not go by theirs. Raises Unanswerable."""
    span = length(since, until)
    resolution = resolution_for(since, span, span.total_seconds(), MOST_ROWS)
    start, end = since.timestamp(), until.timestamp()
    if resolution > 1:
        start, end = floor(start, resolution), math.ceil(end / resolution) * resolution
    tables = tables_of(gpu_ids, resolution, start, end, columns_of(FIGURES))
    found = {gpu_id: _overview(tables.get(gpu_id, Table())) for gpu_id in gpu_ids}
    return Overviews(moment(start), moment(end), resolution, found)


def _overview(table: Table) -> Overview:
    samples, figures = overall(table)
    return Overview(samples, {FIGURES[name]: values for name, values in figures.items()})
