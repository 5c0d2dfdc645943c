"""One agent's open socket, as the process that holds it knows it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from django.utils import timezone

from models_app.agent.messages import Committed, Message, pack
from models_app.agent_link.inbox import Flood, Inbox

BURST_MESSAGES, MESSAGES_A_SECOND = 1000, 50
"""What an agent may say: an hour of its backlog at once, then far more than it has to say."""


@dataclass
class Allowance:
    """A bucket of messages that fills by the second."""

    left: float = BURST_MESSAGES
    at: float = field(default_factory=time.monotonic)

    def take(self) -> None:
        """Count one message. Raises ``Flood``."""
        now = time.monotonic()
        self.left = min(BURST_MESSAGES, self.left + (now - self.at) * MESSAGES_A_SECOND) - 1
        self.at = now
        if self.left < 0:
            raise Flood


@dataclass(eq=False, kw_only=True)
class Line(Inbox):
    """``connection`` names the socket; ``committed`` is what the agent was told to be stored.

    ``is_apart`` where the process beside this one takes in what comes: then the inbox stays empty, and ``memory`` is what
    the host's rows say.
    """

    connection: str
    transmit: Callable[[str], Awaitable[None]]
    close: Callable[[int], Awaitable[None]]
    committed: int = 0
    heard_at: float = field(default_factory=time.monotonic)
    is_apart: bool = False

    def commit(self, sequence: int, gather_seconds: float) -> Committed:
        """Everything up to there is stored, as the agent is to be told."""
        self.committed = sequence
        return Committed(sequence, timezone.now(), 0.0 if self.is_watched else gather_seconds)

    async def send(self, message: Message) -> None:
        """Tell the agent."""
        await self.transmit(pack(message))
