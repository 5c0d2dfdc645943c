"""How a runner's event loop reaches the database: small synchronous units, one at a time, in a thread of their own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from django.db import close_old_connections

P = ParamSpec("P")
T = TypeVar("T")

MOST_IDLE_THREADS = 8
_idle: deque[ThreadPoolExecutor] = deque()
"""Threads whose runner has ended: the next one finds the connection open, for as long as ``CONN_MAX_AGE`` allows."""


class Database:
    """Runs units of database work. A unit is a synchronous function that opens and ends its own transaction.

    All units of one runner share one thread and therefore one connection, so that no transaction is ever split over two
    threads, and a slow unit of one operation holds up no other's. An asynchronous context manager, used once.
    """

    def __init__(self) -> None:
        self._thread = _idle.pop() if _idle else ThreadPoolExecutor(max_workers=1, thread_name_prefix="operation-database")

    async def __call__(self, unit: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The unit's result, or what it raised. Cancelling the wait stops no unit, not even one that has not begun."""
        running = asyncio.get_running_loop().run_in_executor(self._thread, partial(unit, *args, **kwargs))
        running.add_done_callback(_hear)
        return await asyncio.shield(running)

    async def __aenter__(self) -> Self:
        self._thread.submit(close_old_connections)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self(close_old_connections)
        if len(_idle) < MOST_IDLE_THREADS:
            _idle.append(self._thread)
        else:
            self._thread.shutdown(wait=False)


def _hear(unit: asyncio.Future[Any]) -> None:
    """Take note of an error, so that asyncio does not complain of one that nobody waits for any more."""
    if not unit.cancelled():
        unit.exception()
