"""A fleet of simulated agents in the running event loop, and the count of what they sent."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from models_app.agent.proofs import Token
from models_app.simulation.agents.agent import Sent, SimulatedAgent

CONNECT_A_SECOND = 100
"""New agents each second at the start: each of them enrols and makes rows."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``token`` is for at least so many hosts. ``seconds`` counts from when the last agent has started; 0 is for ever."""

    url: str
    token: Token
    hosts: int
    gpus: int
    seed: int = 0
    seconds: float = 0.0
    faults_an_hour: float = 6.0
    drain_seconds: float = 120.0


class AgentFleet:
    """``run`` it once; ``report`` may be called at any time."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._agents = [
            SimulatedAgent(plan.url, plan.token.member(number), plan.gpus, f"{plan.seed}-{number}", plan.faults_an_hour)
            for number in range(1, plan.hosts + 1)
        ]

    async def run(self) -> None:
        """Until the time is over and all is confirmed, or until cancelled."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        spread = len(self._agents) / CONNECT_A_SECOND
        until = began + spread + self._plan.seconds if self._plan.seconds else float("inf")
        try:
            await asyncio.gather(
                *(agent.run(began + number / CONNECT_A_SECOND, until) for number, agent in enumerate(self._agents))
            )
            drained = loop.time() + self._plan.drain_seconds
            await asyncio.gather(*(agent.drain(drained) for agent in self._agents))
        finally:
            await asyncio.gather(*(agent.aclose() for agent in self._agents))

    def report(self) -> list[Sent]:
        """What each host sent until now."""
        return [agent.sent for agent in self._agents]


def summary(sent: Iterable[Sent]) -> str:
    """The counts of all hosts together, in a line."""
    hosts = list(sent)
    samples, gpus = sum(each.samples for each in hosts), sum(sum(each.gpus.values()) for each in hosts)
    left, dropped = sum(each.unconfirmed for each in hosts), sum(each.dropped for each in hosts)
    return (
        f"{len(hosts)} hosts sent {samples} samples with {gpus} of GPUs that answered; "
        f"{left} not confirmed, {dropped} dropped for want of room."
    )


def write_report(path: Path, sent: Iterable[Sent]) -> None:
    """The counts of each host as JSON; the file is there whole or as it was. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps([asdict(each) for each in sent], indent=1), encoding="utf-8")
    draft.replace(path)
