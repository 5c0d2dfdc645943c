"""What the event loops of agents' lines share: database work in threads, and tasks that no failure ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from django.db import close_old_connections

log = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
MOST_WAITING = 100

P = ParamSpec("P")
T = TypeVar("T")


async def run_in(thread: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Database work in this thread."""

    def with_connection() -> T:
        close_old_connections()
        try:
            return work(*args, **kwargs)
        finally:
            close_old_connections()

    return await asyncio.get_running_loop().run_in_executor(thread, with_connection)


async def always(turn: Callable[[], Awaitable[None]]) -> None:
    """One turn after the other, until cancelled."""
    while True:
        try:
            await turn()
        except Exception:
            log.exception("the agents' switchboard failed; it goes on in a second")
            await asyncio.sleep(PAUSE_SECONDS)


class InTurn:
    """Works that go on one after the other, beside whoever asks for them. They must not fail."""

    def __init__(self) -> None:
        self._last: asyncio.Task[None] | None = None
        self._waiting = 0

    async def add(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this after the others; wait for it only where very many are waiting."""
        self._last = asyncio.create_task(self._after(self._last, work))
        self._waiting += 1
        if self._waiting > MOST_WAITING:
            await self._last

    async def done(self) -> None:
        """Wait for the last one."""
        if self._last is not None:
            await self._last

    async def _after(self, before: asyncio.Task[None] | None, work: Coroutine[Any, Any, None]) -> None:
        if before is not None:
            await before
        await work
        self._waiting -= 1
