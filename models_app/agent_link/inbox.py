"""What came from one agent and was not taken in yet, in the process that takes it in."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from models_app.agent.messages import MOST_ENDPOINTS, Observed
from models_app.agent_link.ingest import Reported
from models_app.agent_link.memory import Memory
from models_app.agent_link.reports import Seen
from models_app.inventory.models import Host
from models_app.probes.types import HostSample

MOST_PENDING_SAMPLES = 4000
"""Not taken in yet; an honest agent has a fraction of it on its way."""


class Flood(Exception):
    """The agent says more than it may."""


@dataclass(eq=False, kw_only=True)
class Inbox:
    """``received`` is the greatest sequence that came, ``pending`` what of it was not taken in yet.

    ``observed`` is what its endpoints said since the last time. ``noted`` holds the recorder's tickets of what was taken
    in, with the sequence up to which each goes; ``is_being_taken`` while a thread takes in what came before. ``newest`` is
    the sample that came last. ``number`` names the line to the process that holds its socket, where that is another one.
    """

    agent_id: int
    host: Host
    boot_id: str
    received: int
    number: int = 0
    pending: list[HostSample] = field(default_factory=list)
    noted: deque[tuple[int, int]] = field(default_factory=deque)
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

    def watch(self, seconds: float) -> None:
        """Somebody looks at the host, for so long at least."""
        self.memory.known.watched_until = time.monotonic() + seconds

    @property
    def is_watched(self) -> bool:
        """Whether somebody looks at the host."""
        return time.monotonic() < self.memory.known.watched_until

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
