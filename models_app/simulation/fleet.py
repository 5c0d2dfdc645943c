"""The fleet of the demo: three machines with some models loaded, another program's memory, and something to look into.

``demo_fleet()`` builds it; ``async with fleet.serve() as running`` opens its servers on loopback ports in the running
event loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from models_app.simulation.catalogue import CATALOGUE, models
from models_app.simulation.devices import GIB, MIB, SimulatedGpu
from models_app.simulation.hardware import SimulatedHost
from models_app.simulation.llama_router import LlamaRouterSimulator
from models_app.simulation.llama_single import LlamaServerSimulator
from models_app.simulation.ollama import OllamaSimulator
from models_app.simulation.runner import Timing
from models_app.simulation.server import serve

OLLAMA = "ollama"
LLAMA_SERVER = "llama_server"
"""The kinds of endpoints, in the words of ``backends.protocol.BackendKind``."""

Server = OllamaSimulator | LlamaRouterSimulator | LlamaServerSimulator


@dataclass(slots=True)
class FleetEndpoint:
    """A simulated server. ``url`` is empty until it listens."""

    name: str
    kind: str
    server: Server
    url: str = ""

    def pids(self) -> list[int]:
        """The processes that belong to it now."""
        return self.server.pids()

    def model_pids(self) -> dict[str, list[int]]:
        """The processes that serve one model and nothing else, by the model's name."""
        return self.server.model_pids()


@dataclass(frozen=True, slots=True)
class FleetHost:
    """A simulated machine; ``probe`` is its own view of itself."""

    name: str
    probe: SimulatedHost
    endpoints: tuple[FleetEndpoint, ...]


@dataclass(frozen=True, slots=True)
class Fleet:
    """Machines with their servers. ``preload`` loads what is in memory before anyone looks."""

    hosts: tuple[FleetHost, ...]
    preload: Callable[[], Awaitable[None]]

    @asynccontextmanager
    async def serve(self, first_port: int = 0) -> AsyncIterator[Fleet]:
        """Serve every endpoint on loopback: on free ports, or on consecutive ones from ``first_port``."""
        endpoints = [endpoint for host in self.hosts for endpoint in host.endpoints]
        async with AsyncExitStack() as stack:
            for number, endpoint in enumerate(endpoints):
                port = first_port + number if first_port else 0
                serving = await stack.enter_async_context(serve(endpoint.server, port))
                endpoint.url = serving.url
            await self.preload()
            yield self


def demo_fleet(speed: float = 1.0) -> Fleet:
    """Three machines. ``speed`` multiplies the pace of loads, unloads and downloads: 1 is that of real ones.

    What is in memory at the start is loaded in a moment, whatever the speed.
    """
    timing = Timing()
    atlas, atlas_ollama = _atlas(timing)
    borealis, router = _borealis(timing)
    cirrus, cirrus_ollama, single = _cirrus(timing)

    async def preload() -> None:
        await single.ready.wait()
        await _load(atlas_ollama, {"qwen2.5-coder:14b": 16_384, "nomic-embed-text": 2048, "llama3.1:8b": 8192})
        await _load(cirrus_ollama, {"phi4:14b": 16_384})
        await router.preload("llama-3.3-70b-instruct-q4_k_m")
        borealis.probe.set_activity(router.pids()[-1], 0.6)
        timing.become_realistic(speed)

    return Fleet((atlas, borealis, cirrus), preload)


async def _load(server: OllamaSimulator, contexts: dict[str, int]) -> None:
    for name, context in contexts.items():
        runner = await server.preload(name, num_ctx=context)
        if runner is not None:
            server.host.set_activity(runner.pid, 0.3)


def _atlas(timing: Timing) -> tuple[FleetHost, OllamaSimulator]:
    """Two cards, of which another program holds a part of the second."""
    cards = [SimulatedGpu("NVIDIA GeForce RTX 4090", 24_564 * MIB, 440 * MIB) for _ in range(2)]
    machine = SimulatedHost("atlas", cards, ram_total_bytes=128 * GIB, seed=1)
    machine.allocate(machine.spawn("python3", activity=0.55), 1, 6_230 * MIB)
    names = ("qwen2.5-coder:14b", "llama3.1:8b", "mistral-small:24b", "gemma3:12b", "gpt-oss:20b", "deepseek-r1:32b")
    server = OllamaSimulator(machine, models(*names, "nomic-embed-text:latest", "bge-m3:latest"), timing=timing)
    return FleetHost("atlas", machine, (FleetEndpoint("atlas-ollama", OLLAMA, server),)), server


def _borealis(timing: Timing) -> tuple[FleetHost, LlamaRouterSimulator]:
    """One large card with a router; one of its files is broken."""
    card = SimulatedGpu("NVIDIA H100 NVL", 95_830 * MIB, 632 * MIB, power_limit_milliwatts=400_000)
    machine = SimulatedHost("borealis", [card], ram_total_bytes=512 * GIB, seed=2)
    names = ("llama-3.3-70b-instruct-q4_k_m", "qwen2.5-coder-32b-instruct-q8_0", "llama-3.1-8b-instruct-q8_0")
    listed = models(*names, "bge-m3-f16", "mixtral-truncated-q4_k_m")
    server = LlamaRouterSimulator(machine, listed, context_length=32_768, timing=timing)
    return FleetHost("borealis", machine, (FleetEndpoint("borealis-llama", LLAMA_SERVER, server),)), server


def _cirrus(timing: Timing) -> tuple[FleetHost, OllamaSimulator, LlamaServerSimulator]:
    """A small card: Ollama's model does not fit beside the other server and lies partly in RAM."""
    card = SimulatedGpu("NVIDIA GeForce RTX 3060", 12_288 * MIB, 274 * MIB, power_limit_milliwatts=170_000)
    machine = SimulatedHost("cirrus", [card], ram_total_bytes=32 * GIB, seed=3)
    single = LlamaServerSimulator(
        machine, CATALOGUE["llama3.2:3b"], alias="llama-3.2-3b-q4_k_m", context_length=2048, timing=timing
    )
    ollama = OllamaSimulator(machine, models("phi4:14b", "llama3.2:3b", "qwen3:8b", "qwen2.5:7b"), timing=timing)
    endpoints = (
        FleetEndpoint("cirrus-ollama", OLLAMA, ollama),
        FleetEndpoint("cirrus-llama", LLAMA_SERVER, single),
    )
    return FleetHost("cirrus", machine, endpoints), ollama, single
