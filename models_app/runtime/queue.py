"""The queue of the embedded panel: kombu's in-memory transport, whose reader is woken rather than looks again and again."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from queue import Empty
from typing import Any

from kombu.transport import memory

_changed = threading.Event()
"""A message was put, or one more may be taken. For one reader a process: the worker thread."""


class Channel(memory.Channel):
    """Wakes the reader."""

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        super()._put(queue, message, **kwargs)
        _changed.set()

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        super().basic_ack(delivery_tag, multiple)
        _changed.set()


class Transport(memory.Transport):
    """The transport, for ``CELERY_BROKER_TRANSPORT``."""

    Channel = Channel

    cycle: Any

    def drain_events(self, connection: Any, timeout: float | None = None, **_: Any) -> None:  # noqa: ARG002 - kombu's
        """Deliver one message. Raises ``TimeoutError`` where none came within ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            _changed.clear()  # before looking: what comes afterwards is not slept through
            with suppress(Empty):
                self.cycle.get(self._deliver)
                return
            if not _changed.wait(None if deadline is None else max(0.0, deadline - time.monotonic())):
                raise TimeoutError
