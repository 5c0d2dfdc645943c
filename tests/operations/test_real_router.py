"""Loads, unloads and swaps on a real llama-server, its resident memory standing in for a GPU's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User

from models_app.accounts.roles import Via, actor
from models_app.inventory.models import Host
from models_app.inventory.refresh import refresh_installed
from models_app.probes.types import GpuSample, HostSample
from models_app.simulation.hardware import SimulatedHost
from models_app.telemetry import sources
from models_app.telemetry.gpus import record_gpus
from tests.factories import EndpointFactory, HostFactory
from tests.fixtures.real_servers import RealServer
from tests.operations.conftest import LoopThread, Stage

pytestmark = pytest.mark.real

GIB = 1024**3
BIG, TINY = "m500", "tiny-llama"


@dataclass
class ResidentMemory:
    """A probe that shows the resident memory of a server and its children as the used bytes of one GPU."""

    server: RealServer
    sequence: int = 0

    def sample(self) -> HostSample:
        self.sequence += 1
        used_bytes = self.server.resident_bytes() if self.server.process.poll() is None else 0
        gpu = GpuSample("GPU-resident", 0, "resident memory", total_bytes=8 * GIB, used_bytes=used_bytes)
        free = GpuSample(gpu.uuid, 0, gpu.name, total_bytes=8 * GIB, used_bytes=used_bytes, free_bytes=8 * GIB - used_bytes)
        return HostSample("boot", self.sequence, datetime.now(UTC), (free,))

    def close(self) -> None:
        """Nothing to release."""


@pytest.fixture
def probe(router_server: RealServer) -> ResidentMemory:
    return ResidentMemory(router_server)


@pytest.fixture
def real_host(transactional_db: None, probe: ResidentMemory) -> Iterator[Host]:
    row = HostFactory(name="real")
    sources.register(row, probe)
    record_gpus(row, probe.sample())
    yield row
    sources.unregister(row)


@pytest.fixture
def real_router(
    real_host: Host, router_server: RealServer, admin_user: User, thread: LoopThread, machine: SimulatedHost
) -> Stage:
    endpoint = EndpointFactory(host=real_host, url=router_server.url, kind="llama_server", mode="router")
    asyncio.run(refresh_installed(endpoint))
    endpoint.refresh_from_db()
    return Stage(router_server, None, machine, endpoint, actor(admin_user, Via.WEB), thread)  # type: ignore[arg-type]


def test_a_real_model_loads_swaps_and_unloads_and_its_memory_moves(real_router: Stage) -> None:
    load = real_router.done("load", BIG)
    assert load.verified_by == "gpu"
    assert load.result["moved_bytes"] > 300 * 1024**2
    swap = real_router.done("swap", TINY, unload=(real_router.loaded(BIG).pk,))
    assert [step.verified_by for step in swap.steps.all()] == ["gpu", "gpu"]
    assert swap.after_bytes < load.after_bytes  # type: ignore[operator]
    unload = real_router.done("unload", TINY)
    assert unload.verified_by == "gpu"
