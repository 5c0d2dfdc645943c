"""The router on a simulated machine, asked in memory: what an agent performs the panel's calls on."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from models_app.backends.errors import NotFound, OutOfMemory
from models_app.backends.protocol import (
    BackendKind,
    Capability,
    EndpointInfo,
    HeaderAnswer,
    InstalledModel,
    LoadOptions,
    ModelShape,
    Observation,
    Progress,
)
from models_app.simulation.agents.machine import MODELS, Machine

SHAPE = ModelShape("llama", layer_count=80, kv_head_count=8, head_count=64, embedding_length=8192)
"""Of every model here: it is what a quick estimate needs."""


class SimulatedRouter:
    """The calls of ``Backend`` that a panel makes of a router; loads and unloads take no time."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def identify(self) -> EndpointInfo:
        can = frozenset({Capability.LOAD, Capability.UNLOAD})
        return EndpointInfo(BackendKind.LLAMA_SERVER, "router", "b6000 (simulated)", can, frozenset())

    async def installed(self) -> list[InstalledModel]:
        return [InstalledModel(name, size_bytes=count_bytes) for name, count_bytes in MODELS.items()]

    async def shape(self, name: str) -> ModelShape:  # noqa: ARG002 - the protocol's signature
        return SHAPE

    async def header(self, name: str) -> HeaderAnswer:  # noqa: ARG002
        return HeaderAnswer(None, SHAPE)

    async def observe(self) -> Observation:
        return self.observed()

    def observed(self) -> Observation:
        """What is in memory now."""
        return Observation(self._machine.resident())

    async def load(self, name: str, options: LoadOptions) -> AsyncGenerator[Progress, None]:  # noqa: ARG002
        if name not in MODELS:
            raise NotFound(f"There is no model “{name[:80]}” here.")
        if not self._machine.load(name):
            raise OutOfMemory(f"{name} does not fit on any GPU of this simulated host.")
        yield Progress("loaded", fraction=1.0)

    async def unload(self, name: str) -> None:
        self._machine.unload(name)
