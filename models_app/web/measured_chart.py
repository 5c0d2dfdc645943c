"""How far measured loads were from their estimates, load by load, as a small chart: places in a box that a template draws.

In percent of the estimate, so that loads with different contexts stand side by side and one sees estimates get better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from models_app.operations.measurements import LoadMeasurement

WIDTH, HEIGHT = 640, 148
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 12, 28
_TICK = 9
_LIMITS_PERCENT = (1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True, slots=True)
class Point:
    """One load: its place across with the ends of its estimate's tick, up what was measured and the estimate's band.

    ``percent`` is how much more was measured than estimated.
    """

    row: LoadMeasurement
    percent: float
    x: float
    left: float
    right: float
    measured_y: float
    low_y: float
    high_y: float


@dataclass(frozen=True, slots=True)
class Chart:
    """The loads, oldest first, from ``-limit_percent`` to ``limit_percent``; what is further off is drawn at the edge."""

    points: tuple[Point, ...]
    limit_percent: int
    top_y: float
    middle_y: float
    bottom_y: float

    @property
    def first_at(self) -> datetime:
        """When the oldest load was measured."""
        return self.points[0].row.at

    @property
    def last_at(self) -> datetime:
        """When the newest load was measured."""
        return self.points[-1].row.at


def predicted(row: LoadMeasurement) -> tuple[int, int]:
    """What the load was admitted with, ± its band, in bytes; else what its header or size says, without one."""
    if row.predicted_bytes is None:
        return row.estimated_bytes, 0
    return row.predicted_bytes, row.predicted_error_bytes or 0


def off_percent(row: LoadMeasurement) -> float | None:
    """How much more was measured than estimated, in percent of the estimate; ``None`` without one."""
    size_bytes, _ = predicted(row)
    return 100 * (row.measured_bytes - size_bytes) / size_bytes if size_bytes else None


def chart(newest_first: Sequence[LoadMeasurement]) -> Chart | None:
    """The chart of at least two loads; ``None`` of fewer, for which a table says more."""
    rows = [row for row in reversed(newest_first) if predicted(row)[0]]
    if len(rows) < 2:
        return None
    off = [off_percent(row) or 0.0 for row in rows]
    bands = [100 * error_bytes / size_bytes for size_bytes, error_bytes in map(predicted, rows)]
    furthest = max(abs(value) for value in (*off, *bands))
    limit = next((each for each in _LIMITS_PERCENT if furthest <= each), _LIMITS_PERCENT[-1])
    step = (WIDTH - _LEFT - _RIGHT) / (len(rows) - 1)

    def up(percent: float) -> float:
        share = (min(max(percent, -limit), limit) + limit) / (2 * limit)
        return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 1)

    places = [round(_LEFT + index * step, 1) for index in range(len(rows))]
    points = tuple(
        Point(row, percent, x, x - _TICK, x + _TICK, up(percent), up(-band), up(band))
        for row, percent, band, x in zip(rows, off, bands, places, strict=True)
    )
    return Chart(points, limit, up(limit), up(0), up(-limit))
