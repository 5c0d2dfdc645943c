"""Who works for many waits while a sample is on its way to the page that a person looks at.

It is Python's one lock and SQLite's that they would otherwise wait for together. A transaction that has begun is not held
up, but none of many rows begins, and nothing of many is computed, before the sample has been sent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_SECONDS = 0.5
"""For so long at most, from when it last was said that something is urgent."""


class Precedence:
    """Counts what is urgent now. For threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._urgent = 0
        self._until = 0.0

    def begin(self) -> None:
        """Something is urgent from now on, until ``end``."""
        with self._changed:
            self._urgent += 1
            self._until = time.monotonic() + LONGEST_SECONDS

    def end(self, count: int = 1) -> None:
        """So many things are not urgent any more."""
        with self._changed:
            self._urgent -= count
            self._changed.notify_all()

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """Nothing that gives way begins within this."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def give_way(self) -> None:
        """Wait until nothing is urgent."""
        if self._urgent:
            with self._changed:
                self._changed.wait_for(lambda: not self._urgent, self._until - time.monotonic())


precedence = Precedence()
"""That of this process."""
