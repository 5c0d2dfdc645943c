"""The event stream of a simulated router."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any


class Events:
    """Hands every event to everyone who listens at that moment; nothing is kept for those who come later."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[dict[str, Any]]] = set()

    def publish(self, event: dict[str, Any]) -> None:
        """Tell everyone who listens."""
        for queue in self._listeners:
            queue.put_nowait(event)

    def listen(self) -> AsyncGenerator[bytes, None]:
        """Server-sent events from this call on, without end."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._listeners.add(queue)
        return self._stream(queue)

    async def _stream(self, queue: asyncio.Queue[dict[str, Any]]) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                event = await queue.get()
                yield b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"
        finally:
            self._listeners.discard(queue)
