"""One agent's open socket, as the process that holds it knows it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from django.utils import timezone

from models_app.agent.messages import MOST_ENDPOINTS, Committed, Message, Observed, pack
from models_app.agent_link.ingest import Reported
from models_app.agent_link.memory import Memory
from models_app.agent_link.reports import Seen
from models_app.inventory.models import Host
from models_app.probes.types import HostSample

BURST_MESSAGES, MESSAGES_A_SECOND = 1000, 50
"""What an agent may say: an hour of its backlog at once, then far more than it has to say."""
MOST_PENDING_SAMPLES = 4000
"""Not taken in yet; an honest agent has a fraction of it on its way."""


class Flood(Exception):
    """The agent says more than it may."""


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


@dataclass(eq=False)
class Line:
    """``received`` is the greatest sequence that came, ``pending`` what of it was not taken in yet.

    ``observed`` is what its endpoints said since the last time, ``committed`` what the agent was told to be stored.
    ``noted`` holds the recorder's tickets of what was taken in, with the sequence up to which each goes;
    ``is_being_taken`` while a thread takes in what came before. ``newest`` is the sample that came last.
    """

    agent_id: int
    host: Host
    boot_id: str
    connection: str
    transmit: Callable[[str], Awaitable[None]]
    close: Callable[[int], Awaitable[None]]
    received: int
    committed: int = 0
    pending: list[HostSample] = field(default_factory=list)
    noted: deque[tuple[int, int]] = field(default_factory=deque)
    heard_at: float = field(default_factory=time.monotonic)
    observed: dict[str, Seen] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    is_being_taken: bool = False
    newest: HostSample | None = None

    def take(self, samples: tuple[HostSample, ...]) -> None:
        """Keep the samples that have not come before. Raises ``Flood``."""
        for sample in samples:
            if sample.sequence > self.received:
                self.received = sample.sequence
                self.newest = sample
                self.pending.append(sample)
        if len(self.pending) > MOST_PENDING_SAMPLES:
            raise Flood

    def observe(self, message: Observed) -> None:
        """Keep what an endpoint said last. Raises ``Flood``."""
        self.observed[message.endpoint] = Seen.now(self.host, message)
        if len(self.observed) > MOST_ENDPOINTS:
            raise Flood

    @property
    def is_watched(self) -> bool:
        """Whether somebody looks at the host."""
        return time.monotonic() < self.memory.known.watched_until

    def commit(self, sequence: int, gather_seconds: float) -> Committed:
        """Everything up to there is stored, as the agent is to be told."""
        self.committed = sequence
        return Committed(sequence, timezone.now(), 0.0 if self.is_watched else gather_seconds)

    @property
    def has_news(self) -> bool:
        """Whether something came that was not taken in."""
        return bool(self.pending or self.observed)

    def owes(self, sequence: int) -> bool:
        """Whether a sample up to there came and could not be taken in yet."""
        return bool(self.pending) and self.pending[0].sequence <= sequence

    def reported(self) -> Reported:
        """All that came since the last time, to be taken in now."""
        found = Reported(self.agent_id, self.host, self.pending, self.memory, tuple(self.observed.values()))
        self.pending, self.observed = [], {}
        return found

    def take_back(self, reported: Reported) -> None:
        """It could not be taken in."""
        self.pending = [*reported.samples, *self.pending]
        self.observed = {seen.message.endpoint: seen for seen in reported.observed} | self.observed

    async def send(self, message: Message) -> None:
        """Tell the agent."""
        await self.transmit(pack(message))
