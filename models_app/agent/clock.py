"""Time on an agent: what its own clocks say, and what the panel's clock says."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """``monotonic`` are seconds that no clock setting changes; ``now`` is the wall clock, which may be wrong."""

    def monotonic(self) -> float: ...

    def now(self) -> datetime: ...


class SystemClock:
    """This machine's clocks. Time that it sleeps counts, where the kernel has a clock for that."""

    _ID = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def monotonic(self) -> float:
        return time.clock_gettime(self._ID)

    def now(self) -> datetime:
        return datetime.now(UTC)


class PanelClock:
    """The panel's time at any monotonic moment, from what it said last.

    What it said is older by the way here, so the estimate lags a little and never lies in the panel's future.
    """

    def __init__(self) -> None:
        self._said: datetime | None = None
        self._heard = 0.0

    @property
    def is_known(self) -> bool:
        """Whether the panel has told its time yet."""
        return self._said is not None

    def hear(self, panel_time: datetime, monotonic: float) -> None:
        """The panel's message with its time has just come."""
        self._said, self._heard = panel_time, monotonic

    def at(self, monotonic: float) -> datetime:
        """The panel's time then. Raises ``ValueError`` before it ``is_known``."""
        if self._said is None:
            raise ValueError("the panel has not told its time")
        return self._said + timedelta(seconds=monotonic - self._heard)
