"""Telling a worker, by a task's name. A queue that cannot be reached is no error: the reconciler tells again."""

from __future__ import annotations

import logging

from celery import current_app
from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)

RUN_OPERATION, BEAT = "berth.run_operation", "berth.beat"


def enqueue(operation_id: int) -> None:
    """Tell a worker of an operation."""
    _send(RUN_OPERATION, operation_id)


def enqueue_beat() -> None:
    """Ask a worker for a sign of life."""
    _send(BEAT)


def _send(task: str, *args: object) -> None:
    try:
        current_app.send_task(task, args, retry=False, ignore_result=True)
    except (OperationalError, OSError) as error:
        log.warning("The queue cannot be reached, %s waits for the reconciler: %s", task, error)
