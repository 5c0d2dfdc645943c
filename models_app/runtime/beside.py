"""Works that read the rows of every host: where a process beside this one takes in what many agents report, it does them,
too, for whoever looks at a page would wait for them.

When it is time for a work, the panel's rhythm says so. So one process at most does it; when the other one has died, the
panel does it at its next time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from asgiref.sync import sync_to_async

from models_app.agent_link import door
from models_app.alerts.evaluator import Evaluator
from models_app.telemetry.history.maintenance import maintain

log = logging.getLogger(__name__)

Tick = Callable[[], Awaitable[None]]

ALERTS, HISTORY = "alerts", "history"
WORKS: Mapping[str, Callable[[], Tick]] = {ALERTS: lambda: Evaluator().tick, HISTORY: lambda: sync_to_async(maintain)}
"""By name, what makes one that knows of nothing but the rows."""


def here_or_beside(name: str) -> Tick:
    """The tick of a work in the panel's own process. It begins anew when it comes back: what it knew has grown old."""
    own: Tick | None = None

    async def tick() -> None:
        nonlocal own
        if door.ask_beside(name):
            own = None
        else:
            own = own or WORKS[name]()
            await own()

    return tick


class Works:
    """Those of the process beside, which begin when it is told that they are due."""

    def __init__(self) -> None:
        self._ticks = {name: make() for name, make in WORKS.items()}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, name: str) -> None:
        """It is time for this one, unless it still goes on since the last time."""
        if name not in self._tasks or self._tasks[name].done():
            self._tasks[name] = asyncio.create_task(attempt(self._ticks[name]))

    async def settled(self) -> None:
        """Wait until every one that has begun has ended."""
        if self._tasks:
            await asyncio.wait(self._tasks.values())


async def attempt(tick: Tick) -> None:
    """A tick that fails is logged: it is tried again at its next time."""
    try:
        await tick()
    except Exception:
        log.exception("a background tick failed; it is tried again")
