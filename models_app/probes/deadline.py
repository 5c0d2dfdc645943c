"""A call that may hang, kept away from the thread that asks for it."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_Calls = SimpleQueue[tuple["BoundedCall[Any]", Future[Any]]]

IDLE = "bounded call"

_idle: deque[_Calls] = deque()
"""What threads take their calls from that have nothing to do: a sample needs several, and starting one costs as much as
reading a GPU."""
os.register_at_fork(after_in_child=_idle.clear)


class BoundedCall(Generic[T]):
    """Runs ``function`` on a daemon thread and waits no longer than ``deadline_seconds`` for it.

    A call cannot be interrupted inside the driver. One that overstays keeps its thread, no second one is started beside
    it, and its late result is dropped, since nobody knows how old it is. Not safe for two callers at once.
    """

    def __init__(self, function: Callable[[], T], name: str, deadline_seconds: float) -> None:
        self.function = function
        self.name = name
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
        _idle_thread().put((self, self._future))

    def result(self) -> T:
        """The result of the call begun last; raises what the call raised.

        Raises TimeoutError at the deadline, and at once while a call from before ``begin`` is stuck.
        """
        if self._future is None or self._is_overdue:
            raise TimeoutError
        return self._future.result(timeout=max(0.0, self._due - time.monotonic()))


def _idle_thread() -> _Calls:
    try:
        return _idle.pop()
    except IndexError:
        calls: _Calls = SimpleQueue()
        threading.Thread(target=_serve, args=(calls,), name=IDLE, daemon=True).start()
        return calls


def _serve(calls: _Calls) -> None:
    """Run one call after another, each under its name. The thread is idle before its caller goes on, who may need it."""
    thread = threading.current_thread()
    while True:
        call, future = calls.get()
        thread.name = call.name
        try:
            settle: Callable[[], None] = partial(future.set_result, call.function())
        except Exception as error:
            settle = partial(future.set_exception, error)
        _idle.append(calls)
        settle()
        thread.name = IDLE
        del call, future, settle
