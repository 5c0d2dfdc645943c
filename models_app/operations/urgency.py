"""An operation goes before what works for many or in rhythm while it waits for Berth alone.

That is from its request until its order is out, and from the server's word until its end. Only where the server is called
at its own address: an agent's answer may wait for those who would give way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from models_app.inventory.models import Endpoint
from models_app.inventory.routes import is_direct
from models_app.telemetry.precedence import precedence

ORDER_SECONDS = 0.01
"""After these an order that was about to go out has gone out."""


class Urgency:
    """That of one operation; it begins and ends any number of times."""

    def __init__(self) -> None:
        self._ticket: int | None = None
        self._ending: asyncio.TimerHandle | None = None

    def begin(self, endpoint: Endpoint) -> None:
        """Others give way from now on, for as long as ``precedence`` allows."""
        self._end_no_more()
        if is_direct(endpoint.url) and self._ticket is None:
            self._ticket = precedence.begin()

    def end(self) -> None:
        """They go on."""
        self._end_no_more()
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            precedence.end(ticket)

    def end_with_order(self) -> None:
        """They go on once the order that follows has gone out, unless it is carried out sooner than that."""
        self._ending = asyncio.get_running_loop().call_later(ORDER_SECONDS, self.end)

    def _end_no_more(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None


@contextmanager
def urgent(endpoint: Endpoint) -> Iterator[None]:
    """Others give way to what is done within."""
    urgency = Urgency()
    urgency.begin(endpoint)
    try:
        yield
    finally:
        urgency.end()
