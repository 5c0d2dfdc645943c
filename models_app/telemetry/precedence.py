"""Who works for many, or in rhythm, waits while something is urgent: a sample that is on its way to the page that a person
looks at, or an operation between its request and its order, or between the server's word and its end.

It is Python's one lock and SQLite's that they would otherwise wait for together. A transaction that has begun is not held
up, but none of many rows begins, and nothing of many is computed, before the urgent has ended.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

LONGEST_SECONDS = 0.5
"""Of anything urgent that does not end, as when its event loop has stopped."""
LONGEST_TURN_SECONDS = 1.0
"""After which the next begins beside one that takes longer: nobody who works for many may fall behind for another."""


class Precedence:
    """Knows what is urgent now. For threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._urgent: dict[int, float] = {}
        self._tickets = count()
        self._turn = threading.RLock()

    def begin(self) -> int:
        """Something is urgent from now on, until ``end`` is told this ticket."""
        with self._changed:
            ticket = next(self._tickets)
            self._urgent[ticket] = time.monotonic() + LONGEST_SECONDS
        return ticket

    def end(self, *tickets: int) -> None:
        """These are not urgent any more."""
        with self._changed:
            for ticket in tickets:
                self._urgent.pop(ticket, None)
            self._changed.notify_all()

    @property
    def has_urgent(self) -> bool:
        """Whether something is urgent."""
        return bool(self._urgent)

    def give_way(self) -> None:
        """Wait until nothing is urgent."""
        if not self.has_urgent:
            return
        with self._changed:
            until = max(self._urgent.values(), default=0.0)
            self._changed.wait_for(lambda: not self._urgent, until - time.monotonic())
            now = time.monotonic()
            self._urgent = {ticket: end for ticket, end in self._urgent.items() if end > now}

    async def give_way_async(self) -> None:
        """The same on an event loop, which goes on meanwhile."""
        if self.has_urgent:
            await asyncio.to_thread(self.give_way)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Give way, then work for many, one at a time.

        Side by side such threads are no faster, for Python runs one of them at a time, and the event loop would get no more
        of it than each of them.
        """
        self.give_way()
        has_turn = self._turn.acquire(timeout=LONGEST_TURN_SECONDS)
        try:
            yield
        finally:
            if has_turn:
                self._turn.release()


precedence = Precedence()
"""That of this process."""
