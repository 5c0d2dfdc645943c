"""One simulated agent: a real session over a real socket, whose machine, loads and faults follow from its seed."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any

from models_app.agent import proofs
from models_app.agent.clock import SystemClock
from models_app.agent.credentials import Credentials
from models_app.agent.desk import Desk
from models_app.agent.link import Link
from models_app.agent.messages import LocalEndpoint, Message, Observed
from models_app.agent.proofs import Token
from models_app.agent.session import AgentSession, Identity, State
from models_app.backends.errors import NotFound
from models_app.backends.protocol import BackendKind
from models_app.simulation.agents.backend import SimulatedRouter
from models_app.simulation.agents.machine import ENDPOINT, MODELS, Machine

REPEAT_SECONDS = 15.0
"""What is in memory is told again after this, as agents do."""
LONGEST_AWAY_SECONDS = 20.0
GPU_LOST_SECONDS = 30.0
DRAIN_LOOK_SECONDS = 0.2
CHANGES_AN_HOUR = 12.0
"""Of the models in each host's memory."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What one host sent: samples, those of each GPU that answered, and what the panel has not confirmed or never got."""

    host: str
    samples: int
    gpus: dict[str, int]
    unconfirmed: int
    dropped: int


class SimulatedAgent:
    """Belongs to one event loop. ``faults_an_hour`` counts lost connections, pauses with a late burst, and lost GPUs."""

    def __init__(self, url: str, token: Token, gpu_count: int, seed: str, faults_an_hour: float) -> None:
        self.machine = Machine(seed, gpu_count)
        self._router = SimulatedRouter(self.machine)
        self._desk = Desk(self._target, self._say)
        self._clock = SystemClock()
        identity = Identity(str(uuid.uuid4()), "simulated", f"simulated-{seed}")
        endpoints = [LocalEndpoint(ENDPOINT, BackendKind.LLAMA_SERVER)]
        self.session = AgentSession(_credentials(token), identity, self._clock, asked=self._desk, endpoints=endpoints)
        self._link = Link(url, self.session, on_open=self._forget)
        self._linked: asyncio.Task[None] | None = None
        self._away_until = self._recovers_at = 0.0
        self._told: tuple[Any, float] = (None, 0.0)
        self._faults_an_hour = faults_an_hour
        self._samples = 0

    @property
    def sent(self) -> Sent:
        """The count of this moment."""
        backlog = self.session.outbox.backlog
        return Sent(self.session.host, self._samples, dict(self.machine.sampled), len(backlog), backlog.lost)

    async def run(self, first: float, until: float) -> None:
        """Sample every second from ``first`` to ``until``, in the loop's time."""
        loop = asyncio.get_running_loop()
        due = first
        while due < until:
            await asyncio.sleep(due - loop.time())
            self._misbehave(due)
            self._sample()
            self._observe(due)
            due = max(due + self.session.sample_seconds, loop.time())

    async def drain(self, until: float) -> None:
        """Stay connected until everything is confirmed, or until then."""
        loop = asyncio.get_running_loop()
        self._connect()
        while len(self.session.outbox.backlog) and loop.time() < until:
            await asyncio.sleep(DRAIN_LOOK_SECONDS)
            self._link.wake.set()

    async def aclose(self) -> None:
        """Close the connection and end whatever was asked."""
        self._disconnect()
        await self._desk.aclose()

    def _sample(self) -> None:
        time_of = self.session.panel_clock.at if self.session.panel_clock.is_known else None
        self.session.outbox.backlog.add_written(self.machine.write, self._clock.monotonic(), time_of)
        self._samples += 1
        self._link.wake.set()

    def _observe(self, now: float) -> None:
        observation = self._router.observed()
        before, told = self._told
        if self.session.state is State.OPEN and (observation != before or now - told >= REPEAT_SECONDS):
            self._told = observation, now
            self._say(Observed(ENDPOINT, observation=observation))

    def _misbehave(self, now: float) -> None:
        """Whatever chance has in store for this second."""
        chance = self.machine.random
        if now >= self._recovers_at:
            self.machine.recover()
        if now >= self._away_until:
            self._connect()
        if chance.random() < CHANGES_AN_HOUR / 3600:
            name = chance.choice(sorted(MODELS))
            chance.choice((self.machine.load, self.machine.unload))(name)
        if chance.random() < self._faults_an_hour / 3600:
            self._fail(chance.choice(("lost connection", "pause", "lost GPU")), now)

    def _fail(self, fault: str, now: float) -> None:
        if fault == "lost GPU":
            self.machine.lose(self.machine.random.randrange(64))
            self._recovers_at = now + GPU_LOST_SECONDS
            return
        self._disconnect()
        if fault == "pause":
            self._away_until = now + self.machine.random.uniform(2, LONGEST_AWAY_SECONDS)

    def _connect(self) -> None:
        if self._linked is None:
            self._linked = asyncio.create_task(self._link.run())

    def _disconnect(self) -> None:
        if self._linked is not None:
            self._linked.cancel()
            self._linked = None

    def _forget(self) -> None:
        self._told = (None, 0.0)
        self.machine.tell_details()

    def _say(self, message: Message) -> None:
        self.session.say(message)
        self._link.wake.set()

    async def _target(self, endpoint: str) -> Any:
        if endpoint == ENDPOINT:
            return self._router
        raise NotFound("A simulated host is not sampled on demand.")


def _credentials(token: Token) -> Credentials:
    """The same secret at every start, so that a simulator that is started again goes on with the hosts that it has."""
    salt = proofs.proof(token.key, "simulated salt")
    return Credentials(token.key_id, proofs.agent_secret(token.key, salt), salt, token.key)
