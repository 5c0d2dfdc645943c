"""Waiting in a request's thread until an operation has ended, wherever its worker is."""

from __future__ import annotations

import threading
import time

from models_app.operations.models import Operation

MOST_WAIT_SECONDS = 30
LOOK_EVERY_SECONDS = 0.025
MOST_WAITERS = 32
"""Each holds a thread; more than these are answered at once."""

_places = threading.BoundedSemaphore(MOST_WAITERS)


def wait_for_end(operation_id: int, seconds: float) -> None:
    """Return when the operation has ended or is not there, and after ``seconds`` at the latest."""
    if not _places.acquire(blocking=False):
        return
    try:
        deadline = time.monotonic() + seconds
        active = Operation.objects.filter(pk=operation_id, state__in=Operation.ACTIVE)
        while active.exists() and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_SECONDS)
    finally:
        _places.release()
