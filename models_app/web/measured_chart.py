"""Estimated against measured, load by load, as a small chart: places in a box that a template draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models_app.operations.measurements import LoadMeasurement

WIDTH, HEIGHT = 320, 96
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 10, 8, 8
_TICK = 5


@dataclass(frozen=True, slots=True)
class Point:
    """One load: its place across with the ends of its tick; up, what was measured and what was predicted with its band."""

    x: float
    left: float
    right: float
    measured_y: float
    predicted_y: float
    low_y: float
    high_y: float
    is_outlier: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """The loads, oldest first, between the least and the most bytes shown."""

    points: tuple[Point, ...]
    least_bytes: int
    most_bytes: int


def predicted(row: LoadMeasurement) -> tuple[int, int]:
    """What the load was admitted with, ± its band, in bytes; else what its header or size says, without one."""
    if row.predicted_bytes is None:
        return row.estimated_bytes, 0
    return row.predicted_bytes, row.predicted_error_bytes or 0


def chart(newest_first: Sequence[LoadMeasurement]) -> Chart | None:
    """The chart of at least two loads; ``None`` of fewer, for which a table says more."""
    if len(newest_first) < 2:
        return None
    rows = list(reversed(newest_first))
    bands = [predicted(row) for row in rows]
    values = [row.measured_bytes for row in rows] + [size + sign * band for size, band in bands for sign in (-1, 1)]
    least, most = max(0, min(values)), max(values)
    step = (WIDTH - _LEFT - _RIGHT) / (len(rows) - 1)

    def up(size_bytes: int) -> float:
        share = (min(max(size_bytes, least), most) - least) / max(1, most - least)
        return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 1)

    points = [
        Point(
            round(_LEFT + index * step, 1),
            round(_LEFT + index * step - _TICK, 1),
            round(_LEFT + index * step + _TICK, 1),
            up(row.measured_bytes),
            up(size),
            up(size - band),
            up(size + band),
            row.is_outlier,
        )
        for index, (row, (size, band)) in enumerate(zip(rows, bands, strict=True))
    ]
    return Chart(tuple(points), least, most)
