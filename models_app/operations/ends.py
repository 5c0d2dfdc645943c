"""Waiting in a request's thread until an operation has ended, wherever its worker is."""

from __future__ import annotations

import threading
import time

from django.conf import settings
from django.db.models import QuerySet

from models_app.operations.models import Operation

MOST_WAIT_SECONDS = 30
LOOK_EVERY_SECONDS = 0.025
"""Where the workers are other processes."""
RARE_LOOK_SECONDS = 0.5
"""Where this process's worker tells of every end."""
MOST_WAITERS = 32
"""Each holds a thread; more than these are answered at once."""

_places = threading.BoundedSemaphore(MOST_WAITERS)
_told = threading.Condition()
_ends = 0
"""How many ends this process has told of."""


def tell_end() -> None:
    """An operation's end has been committed by this process: whoever waits looks at the rows."""
    global _ends
    with _told:
        _ends += 1
        _told.notify_all()


def wait_for_end(operation_id: int, seconds: float) -> None:
    """Return when the operation has ended or is not there, and after ``seconds`` at the latest."""
    if not _places.acquire(blocking=False):
        return
    try:
        _wait(Operation.objects.filter(pk=operation_id, state__in=Operation.ACTIVE), time.monotonic() + seconds)
    finally:
        _places.release()


def _wait(active: QuerySet[Operation], deadline: float) -> None:
    pause_seconds = LOOK_EVERY_SECONDS if settings.REDIS_URL else RARE_LOOK_SECONDS
    while True:
        known = _ends  # before looking: an end that is told of afterwards is not slept through
        left_seconds = deadline - time.monotonic()
        if left_seconds <= 0 or not active.exists():
            return
        _wait_for_another(known, min(left_seconds, pause_seconds))


def _wait_for_another(known: int, seconds: float) -> None:
    with _told:
        _told.wait_for(lambda: _ends != known, seconds)
