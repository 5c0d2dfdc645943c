"""Time on an agent: what its own clocks say, and what the panel's clock says."""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Protocol

MESSAGES = 8
"""Of the panel, by which its time is estimated: those of some seconds, and of a minute or two where a thousand report."""


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
    """The panel's time at any monotonic moment, from what it said lately.

    What it said is older by the way here, so the estimate lags a little and never lies in the panel's future. The message
    that was on its way for the shortest time tells best: one that waited in a busy panel or here would date all that
    follows back by as much. Only the last few count, for the panel's clock may be set back.
    """

    def __init__(self) -> None:
        self._said: deque[tuple[datetime, float]] = deque(maxlen=MESSAGES)

    @property
    def is_known(self) -> bool:
        """Whether the panel has told its time yet."""
        return bool(self._said)

    def hear(self, panel_time: datetime, monotonic: float) -> None:
        """The panel's message with its time has just come."""
        self._said.append((panel_time, monotonic))

    def at(self, monotonic: float) -> datetime:
        """The panel's time then. Raises ``ValueError`` before it ``is_known``."""
        if not self._said:
            raise ValueError("the panel has not told its time")
        return max(said + timedelta(seconds=monotonic - heard) for said, heard in self._said)
