"""A call that may hang, kept away from the thread that asks for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class BoundedCall(Generic[T]):
    """Runs ``function`` on a daemon thread and waits no longer than ``deadline_seconds`` for it.

    A call cannot be interrupted inside the driver. One that overstays keeps its thread, no second one is started beside
    it, and its late result is dropped, since nobody knows how old it is. Not safe for two callers at once.
    """

    def __init__(self, function: Callable[[], T], name: str, deadline_seconds: float) -> None:
        self._function = function
        self._name = name
        self._deadline_seconds = deadline_seconds
        self._due = 0.0
        self._future: Future[T] | None = None
        self._is_overdue = False

    @property
    def is_running(self) -> bool:
        """Whether a thread is inside the call at this moment."""
        return self._future is not None and not self._future.done()

    def begin(self) -> None:
        """Start the call, unless the one before has not returned yet."""
        self._is_overdue = self.is_running
        if self._is_overdue:
            return
        self._future = Future()
        self._due = time.monotonic() + self._deadline_seconds
        threading.Thread(target=self._run, args=(self._future,), name=self._name, daemon=True).start()

    def result(self) -> T:
        """The result of the call begun last; raises what the call raised.

        Raises TimeoutError at the deadline, and at once while a call from before ``begin`` is stuck.
        """
        if self._future is None or self._is_overdue:
            raise TimeoutError
        return self._future.result(timeout=max(0.0, self._due - time.monotonic()))

    def _run(self, future: Future[T]) -> None:
        try:
            future.set_result(self._function())
        except Exception as error:
            future.set_exception(error)
