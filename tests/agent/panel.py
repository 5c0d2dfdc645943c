"""The panel's side of a conversation, as little as an agent's session needs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from models_app.agent import proofs
from models_app.agent.credentials import Credentials
from models_app.agent.messages import (
    Announce,
    Challenge,
    Committed,
    Done,
    Enrol,
    Enrolled,
    Hello,
    Samples,
    Welcome,
    pack,
    unpack,
)
from models_app.agent.session import AgentSession

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
FROM_AGENT = (Enrol, Hello, Samples, Announce, Done)


class ManualClock:
    """Clocks that go when they are told to; ``wall`` may be set to anything."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.wall = NOON

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return self.wall

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self.wall += timedelta(seconds=seconds)


class ScriptedPanel:
    """Knows the agent's secret and remembers what it stored, as the real one does."""

    def __init__(self, credentials: Credentials, clock: ManualClock) -> None:
        self.credentials = credentials
        self.stored: list[Any] = []
        self.committed = 0
        self._clock = clock
        self._began = clock.seconds

    @property
    def time(self) -> datetime:
        """The right time."""
        return NOON + timedelta(seconds=self._clock.seconds - self._began)

    def connect(self, session: AgentSession) -> list[Any]:
        """Let the session in; what it says first."""
        session.begin()
        nonce = proofs.nonce()
        session.receive(pack(Challenge(nonce, self.time)))
        hello = self._heard(session)[0]
        if isinstance(hello, Enrol):
            shown = proofs.proof(self.credentials.secret, "enrolled", hello.key_id, hello.salt)
            session.receive(pack(Enrolled("gpu-1", shown)))
            hello = self._heard(session)[0]
        assert isinstance(hello, Hello)
        parts = (hello.key_id, nonce, hello.nonce, hello.boot_id)
        assert proofs.is_proof(hello.proof, self.credentials.secret, "agent", *parts)
        shown = proofs.proof(self.credentials.secret, "panel", hello.nonce, nonce)
        session.receive(pack(Welcome("gpu-1", shown, self.committed, self.time)))
        return self.listen(session)

    def listen(self, session: AgentSession) -> list[Any]:
        """Everything that the session says now; samples are stored, but not committed."""
        said = self._heard(session)
        for message in said:
            if isinstance(message, Samples):
                self.stored += message.items
        return said

    def commit(self, session: AgentSession, gather_seconds: float = 0.0) -> None:
        """Say that all is stored."""
        self.committed = max((sample.sequence for sample in self.stored), default=0)
        session.receive(pack(Committed(self.committed, self.time, gather_seconds)))

    def _heard(self, session: AgentSession) -> list[Any]:
        return [unpack(text, *FROM_AGENT) for text in session.outgoing()]
