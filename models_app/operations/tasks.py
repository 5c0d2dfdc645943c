"""The two Celery tasks. A message is only a nudge: losing it, or getting it twice, changes nothing."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from celery import shared_task
from kombu.exceptions import OperationalError

from models_app.operations import heartbeats
from models_app.operations.runner import run

log = logging.getLogger(__name__)


@shared_task(name="berth.run_operation")
def run_operation(operation_id: int) -> None:
    """Work on one operation, if it is due and nobody else does."""
    asyncio.run(run(operation_id))


@shared_task(name="berth.beat")
def beat() -> None:
    """Note that a worker took a message: the sign of life that readiness asks for."""
    heartbeats.beat(heartbeats.WORKER)


def enqueue(operation_id: int) -> None:
    """Tell a worker. A queue that cannot be reached is no error: the reconciler tells again."""
    _send(run_operation, operation_id)


def enqueue_beat() -> None:
    """Ask a worker for a sign of life."""
    _send(beat)


def _send(task: Any, *args: Any) -> None:
    try:
        task.apply_async(args, retry=False)
    except (OperationalError, OSError) as error:
        log.warning("The queue cannot be reached, %s waits for the reconciler: %s", task.name, error)
