"""Who writes rows for many waits while somebody writes the row that a person looks at.

SQLite has one lock for all that write, and whoever finds it taken looks again only now and then. Within a process this is
the order: a transaction that has begun is not held up, but none of many rows begins before one that is urgent has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_SECONDS = 0.5
"""For so long at most, whatever is urgent."""


class Precedence:
    """Counts what is urgent now. For threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._urgent = 0

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """Nothing that gives way begins within this."""
        with self._changed:
            self._urgent += 1
        try:
            yield
        finally:
            with self._changed:
                self._urgent -= 1
                self._changed.notify_all()

    def give_way(self) -> None:
        """Wait until nothing is urgent."""
        with self._changed:
            self._changed.wait_for(lambda: not self._urgent, LONGEST_SECONDS)


precedence = Precedence()
"""That of this process."""
