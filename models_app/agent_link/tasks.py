"""What the event loops of agents' lines share: database work in threads, and tasks that no failure ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import close_old_connections

log = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0

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
