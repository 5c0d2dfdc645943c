"""What goes on without anybody asking: sampling, looking at endpoints, reconciling. One event loop, three rhythms."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from asgiref.sync import ThreadSensitiveContext
from django.conf import settings

from models_app.inventory.watch import Watcher
from models_app.operations.reconciler import Reconciler
from models_app.telemetry.collector import Collector

log = logging.getLogger(__name__)
RECONCILE_SECONDS = 1.0


async def run(stop: asyncio.Event) -> None:
    """Work until ``stop`` is set. A tick that fails is logged and tried again at its next time."""
    watcher = Watcher()
    rhythms = (
        (settings.SAMPLE_SECONDS, Collector().tick),
        (settings.OBSERVE_SECONDS, watcher.tick),
        (RECONCILE_SECONDS, Reconciler().tick),
    )
    try:
        async with asyncio.TaskGroup() as group:
            for period_seconds, tick in rhythms:
                group.create_task(_every(period_seconds, tick, stop))
    finally:
        await watcher.aclose()


async def _every(period_seconds: float, tick: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    async with ThreadSensitiveContext():
        while not stop.is_set():
            try:
                await tick()
            except Exception:
                log.exception("a background tick failed; it is tried again")
            due = max(due + period_seconds, loop.time())
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), due - loop.time())
