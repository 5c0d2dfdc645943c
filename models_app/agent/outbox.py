"""The samples of a process on their way to the panel: thinned, kept until they are stored, gathered, sent in order."""

from __future__ import annotations

from collections import deque

from models_app.agent.backlog import Backlog, TimeOf
from models_app.agent.details import Details
from models_app.agent.messages import MOST_BYTES, batch
from models_app.probes.types import HostSample

WINDOW = 96
"""Messages with samples on their way at once: more than a panel leaves uncommitted while it keeps up."""
MOST_GATHER_SECONDS = 10.0
BATCH_CHARACTERS = MOST_BYTES // 2
"""Names beyond ASCII take more bytes than characters."""


class Outbox:
    """``backlog`` is what the panel has not stored."""

    def __init__(self, boot_id: str) -> None:
        self.backlog = Backlog(boot_id)
        self._details = Details()
        self._sent = 0
        self._in_flight: deque[int] = deque()
        self._gather_seconds = 0.0

    def begin(self) -> None:
        """A connection is made; whoever listens knows nothing yet."""
        self._in_flight.clear()
        self._details.forget()
        self._gather_seconds = 0.0

    def add(self, sample: HostSample, at: float, time_of: TimeOf | None) -> None:
        """Keep a sample that was taken at this moment; ``time_of`` gives the panel's time, where it is known."""
        self.backlog.add(self._details.thin(sample, at), at, time_of)

    def resume(self, committed: int, time_of: TimeOf) -> None:
        """The panel has told its time, and up to where samples are stored."""
        self.backlog.fix_times(time_of)
        self.backlog.forget(committed)
        self._sent = committed

    def commit(self, sequence: int, gather_seconds: float) -> None:
        """Everything up to there is stored; what is new may wait for so long, to be sent together."""
        self._gather_seconds = min(gather_seconds, MOST_GATHER_SECONDS)
        self.backlog.forget(sequence)
        while self._in_flight and self._in_flight[0] <= sequence:
            self._in_flight.popleft()

    def messages(self, monotonic: float) -> list[str]:
        """Everything that is to be sent at this moment."""
        texts: list[str] = []
        while len(self._in_flight) < WINDOW and self._is_gathered(monotonic):
            samples, last = self.backlog.after(self._sent, BATCH_CHARACTERS)
            self._sent = last
            if not samples:
                break
            self._in_flight.append(last)
            texts.append(batch(samples))
        return texts

    def _is_gathered(self, monotonic: float) -> bool:
        """Whether the oldest sample that was not sent has waited for as long as the panel wishes, or there is none."""
        since = self.backlog.taken_after(self._sent)
        return since is None or monotonic - since >= self._gather_seconds
