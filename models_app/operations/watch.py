"""Work beside a watcher that renews the lease, reports progress and heeds a request to cancel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from django.db import OperationalError

from models_app.operations import records, states
from models_app.operations.job import Job
from models_app.operations.outcomes import Cancelled, LeaseLost

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 0.2
RENEW_EVERY_SECONDS = states.LEASE_DURATION.total_seconds() / 3

T = TypeVar("T")


async def watched(job: Job, work: Coroutine[Any, Any, T], *, heed_cancel: bool = True) -> T:
    """The result of ``work``. Raises ``Cancelled`` or ``LeaseLost``, and then ``work`` has been cancelled and has ended.

    What was cut off may fail with an error of its own on its way out: that is no reason why the operation ended.
    """
    task = asyncio.create_task(work)
    watcher = asyncio.create_task(_watch(job, heed_cancel))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        watcher.cancel()
        if not task.done():
            task.cancel()
        await asyncio.gather(task, watcher, return_exceptions=True)
    if not watcher.cancelled() and (task.cancelled() or task.exception()):
        watcher.result()
    return task.result()


async def _watch(job: Job, heed_cancel: bool) -> None:
    """Ends only by raising."""
    loop = asyncio.get_running_loop()
    renewed_at = loop.time()
    while True:
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        try:
            if await job.database(records.is_cancel_requested, job.lease) and heed_cancel:
                raise Cancelled
            await job.flush()
            if loop.time() - renewed_at >= RENEW_EVERY_SECONDS:
                await job.update()
                renewed_at = loop.time()
        except OperationalError as error:
            log.warning("operation %s: the database does not answer: %s", job.operation.pk, error)
            if loop.time() - renewed_at >= states.LEASE_DURATION.total_seconds():
                raise LeaseLost from error
