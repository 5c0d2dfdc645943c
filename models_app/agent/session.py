"""An agent's side of the conversation, without a socket, a thread or a clock of its own: texts in, texts out.

    closed → challenged → [enrolling →] greeting → open → closed

One session lives as long as its process: it is begun again at each connection, and keeps what the panel has not stored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from models_app.agent import proofs
from models_app.agent.asked import Asked, NothingAsked
from models_app.agent.clock import Clock, PanelClock
from models_app.agent.codec import Malformed
from models_app.agent.credentials import Credentials
from models_app.agent.messages import (
    VERSION,
    Announce,
    Ask,
    Cancel,
    Challenge,
    Committed,
    Enrol,
    Enrolled,
    Hello,
    LocalEndpoint,
    Message,
    Settled,
    Welcome,
    pack,
    unpack,
)
from models_app.agent.outbox import Outbox
from models_app.probes.types import HostSample


class State(StrEnum):
    """How far the conversation is."""

    CLOSED = "closed"
    CHALLENGED = "challenged"
    ENROLLING = "enrolling"
    GREETING = "greeting"
    OPEN = "open"


class PanelRefused(Exception):
    """The panel does not know the secret: this is not the panel that the agent enrolled with."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The agent's process: its boot id, its version, and what its machine calls itself."""

    boot_id: str
    program: str = ""
    hostname: str = ""


class AgentSession:
    """``receive`` what the panel says, ``outgoing`` is what to send. Raises ``Malformed`` for what no panel says."""

    def __init__(
        self,
        credentials: Credentials,
        identity: Identity,
        clock: Clock,
        *,
        asked: Asked | None = None,
        endpoints: Iterable[LocalEndpoint] = (),
        on_enrolled: Callable[[Credentials], None] = lambda _: None,
    ) -> None:
        self.credentials = credentials
        self.outbox = Outbox(identity.boot_id)
        self.panel_clock = PanelClock()
        self.state = State.CLOSED
        self.host = ""
        self.sample_seconds, self.observe_seconds = 1.0, 2.0
        self._identity = identity
        self._clock = clock
        self._asked = asked or NothingAsked()
        self._endpoints = tuple(endpoints)
        self._on_enrolled = on_enrolled
        self._nonce = ""
        self._panel_nonce = ""
        self._out: deque[str] = deque()

    def begin(self) -> None:
        """A connection is made."""
        self._out.clear()
        self.outbox.begin()
        self._nonce = proofs.nonce()
        self.state = State.CHALLENGED

    def end(self) -> None:
        """The connection is gone. What was not committed is sent again at the next."""
        self.state = State.CLOSED

    def add(self, sample: HostSample, monotonic: float | None = None) -> None:
        """Keep a sample, taken now or at that monotonic moment, until the panel has stored it."""
        at = self._clock.monotonic() if monotonic is None else monotonic
        self.outbox.add(sample, at, self.panel_clock.at if self.panel_clock.is_known else None)

    def dated(self, sample: HostSample) -> HostSample:
        """A sample that was taken just now, with its time by the panel's clock."""
        at = self._clock.monotonic()
        return replace(sample, taken_at=self.panel_clock.at(at)) if self.panel_clock.is_known else sample

    def say(self, message: Message) -> None:
        """Send it, if the panel listens."""
        if self.state is State.OPEN:
            self._out.append(pack(message))

    def receive(self, text: str | bytes) -> None:
        """Something came from the panel. Raises ``Malformed``, and ``PanelRefused`` for a panel that is none."""
        match self.state:
            case State.CHALLENGED:
                self._be_challenged(unpack(text, Challenge))
            case State.ENROLLING:
                self._be_enrolled(unpack(text, Enrolled))
            case State.GREETING:
                self._be_welcomed(unpack(text, Welcome))
            case State.OPEN:
                self._heed(unpack(text, Committed, Ask, Cancel, Settled))
            case State.CLOSED:
                raise Malformed("There is no connection.")

    def outgoing(self) -> list[str]:
        """Everything that can be sent now."""
        texts = list(self._out)
        self._out.clear()
        if self.state is State.OPEN:
            texts += self.outbox.messages(self._clock.monotonic())
        return texts

    def _be_challenged(self, challenge: Challenge) -> None:
        if challenge.version != VERSION:
            raise Malformed(f"The panel speaks version {challenge.version} of the protocol, this agent version {VERSION}.")
        self._panel_nonce = challenge.nonce
        if self.credentials.token_key is None:
            self._greet()
            return
        mine = self.credentials
        parts = (mine.key_id, mine.salt, self._panel_nonce)
        proof = proofs.proof(self.credentials.token_key, "enrol", *parts)
        self._out.append(pack(Enrol(mine.key_id, mine.salt, proof, self._identity.hostname)))
        self.state = State.ENROLLING

    def _be_enrolled(self, enrolled: Enrolled) -> None:
        self._check(enrolled.proof, "enrolled", self.credentials.key_id, self.credentials.salt)
        self.credentials = self.credentials.confirmed()
        self._on_enrolled(self.credentials)
        self._greet()

    def _greet(self) -> None:
        mine = self._identity
        parts = (self.credentials.key_id, self._panel_nonce, self._nonce, mine.boot_id)
        proof = proofs.proof(self.credentials.secret, "agent", *parts)
        who = (mine.boot_id, self._clock.now(), mine.program, mine.hostname)
        self._out.append(pack(Hello(self.credentials.key_id, self._nonce, proof, *who, self._asked.running())))
        self.state = State.GREETING

    def _be_welcomed(self, welcome: Welcome) -> None:
        self._check(welcome.proof, "panel", self._nonce, self._panel_nonce)
        self.state = State.OPEN
        self.host = welcome.host
        self.sample_seconds, self.observe_seconds = welcome.sample_seconds, welcome.observe_seconds
        self.panel_clock.hear(welcome.time, self._clock.monotonic())
        self.outbox.resume(welcome.committed, self.panel_clock.at)
        self.say(Announce(self._endpoints))
        for message in self._asked.unsettled():
            self.say(message)

    def _check(self, claimed: str, purpose: str, *parts: str) -> None:
        if not proofs.is_proof(claimed, self.credentials.secret, purpose, *parts):
            raise PanelRefused("Whoever answers there does not know this agent's secret: it is not its panel.")

    def _heed(self, message: Committed | Ask | Cancel | Settled) -> None:
        match message:
            case Committed():
                self.panel_clock.hear(message.time, self._clock.monotonic())
                self.outbox.commit(message.sequence, message.gather_seconds)
            case Ask():
                self._asked.ask(message)
            case Cancel():
                self._asked.cancel(message.id)
            case Settled():
                self._asked.settle(message.id)
