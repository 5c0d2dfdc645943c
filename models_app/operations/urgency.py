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

    def __init__(self, endpoint: Endpoint) -> None:
        self._is_direct = is_direct(endpoint.url)
        self._ticket: int | None = None

    def begin(self) -> None:
        """Others give way from now on, for as long as ``precedence`` allows."""
        if self._is_direct and self._ticket is None:
            self._ticket = precedence.begin()

    def end(self) -> None:
        """They go on."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            precedence.end(ticket)

    def end_with_order(self) -> None:
        """They go on once the order that follows has gone out."""
        asyncio.get_running_loop().call_later(ORDER_SECONDS, self.end)


@contextmanager
def urgent(endpoint: Endpoint) -> Iterator[None]:
    """Others give way to what is done within."""
    urgency = Urgency(endpoint)
    urgency.begin()
    try:
        yield
    finally:
        urgency.end()
