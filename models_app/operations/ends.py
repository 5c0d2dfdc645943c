"""Waiting in a request's thread until an operation has ended, wherever its worker is."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from models_app.operations.models import Operation

MOST_WAIT_SECONDS = 30
LOOK_EVERY_SECONDS = 0.025
"""Where the workers are other processes."""
RARE_LOOK_SECONDS = 0.5
"""Where this process's worker tells of every end."""
MOST_WAITERS = 32
"""Each holds a thread; more than these are answered at once."""

ENDS_KEPT = 256

_places = threading.BoundedSemaphore(MOST_WAITERS)
_lock = threading.Lock()
_waiting: dict[threading.Event, int] = {}
"""What those who wait are told by, and for which operation's end."""
_ended: deque[int] = deque(maxlen=ENDS_KEPT)
"""The latest ends, for who asks a moment too late."""


def tell_end(operation_id: int) -> None:
    """An operation's end has been committed by this process: whoever waits for it is woken."""
    with _lock:
        _ended.append(operation_id)
        for told in [told for told, awaited in _waiting.items() if awaited == operation_id]:
            told.set()


def wait_for_end(operation_id: int, seconds: float) -> None:
    """Return when an operation that was active a moment ago has ended, and after ``seconds`` at the latest."""
    if not _places.acquire(blocking=False):
        return
    try:
        with _listening(operation_id) as told:
            _wait(operation_id, told, time.monotonic() + seconds)
    finally:
        _places.release()


def _wait(operation_id: int, told: threading.Event, deadline: float) -> None:
    pause_seconds = LOOK_EVERY_SECONDS if settings.REDIS_URL else RARE_LOOK_SECONDS
    active = Operation.objects.filter(pk=operation_id, state__in=Operation.ACTIVE)
    while (left_seconds := deadline - time.monotonic()) > 0:
        if told.wait(min(left_seconds, pause_seconds)) or not active.exists():
            return


@contextmanager
def _listening(operation_id: int) -> Iterator[threading.Event]:
    told = threading.Event()
    with _lock:
        _waiting[told] = operation_id
        if operation_id in _ended:
            told.set()
    try:
        yield told
    finally:
        with _lock:
            del _waiting[told]
