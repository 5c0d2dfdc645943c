"""A driver that loses a GPU or hangs costs the figures of that GPU, and nothing else of the agent."""

from __future__ import annotations

from typing import Any

from models_app.agent.session import State
from models_app.inventory.models import Endpoint, Gpu
from models_app.inventory.observe import look
from models_app.probes.host import LocalProbe
from models_app.probes.nvml import NvmlGpus
from tests.fixtures.agents import StartAgent, until
from tests.fixtures.nvml import NvmlStub

GPU_IS_LOST = 15
HEALTHY: dict[str, dict[str, int]] = {
    "gpu0": {"total_mb": 4096, "used_mb": 100},
    "gpu1": {"total_mb": 4096, "used_mb": 200},
}


def probe() -> LocalProbe:
    return LocalProbe(NvmlGpus(deadline_seconds=0.2))


def states(host: Any) -> list[str]:
    return list(Gpu.objects.filter(host=host).order_by("index").values_list("state", flat=True))


async def test_a_gpu_that_is_lost_is_told_and_the_others_go_on(start_agent: StartAgent, nvml_stub: NvmlStub) -> None:
    nvml_stub.set(count=2, **HEALTHY)
    running = await start_agent(probe())
    await until(lambda: states(running.host) == ["ok", "ok"], "both GPUs")
    lost = HEALTHY["gpu1"] | {"error.nvmlDeviceGetPowerUsage": GPU_IS_LOST}
    nvml_stub.set(count=2, gpu0=HEALTHY["gpu0"], gpu1=lost)
    await until(lambda: states(running.host) == ["ok", "lost"], "the lost GPU to be told")


async def test_a_driver_that_hangs_stalls_neither_samples_nor_commands(
    start_agent: StartAgent, nvml_stub: NvmlStub, ollama_simulator: Any
) -> None:
    nvml_stub.set(count=2, **HEALTHY)
    running = await start_agent(probe(), ollama=ollama_simulator.url)
    await until(lambda: states(running.host) == ["ok", "ok"], "both GPUs")
    nvml_stub.set(count=2, gpu0={"total_mb": 4096, "hang": 1}, gpu1=HEALTHY["gpu1"])
    try:
        await until(lambda: states(running.host) == ["wedged", "ok"], "the wedged GPU to be told")
        endpoint = await until(Endpoint.objects.filter(host=running.host).select_related("host").first, "the endpoint")
        assert (await look(endpoint)).resident == ()
        assert running.agent.session.state is State.OPEN
    finally:
        nvml_stub.set(count=2, **HEALTHY)
    await until(lambda: states(running.host) == ["ok", "ok"], "both GPUs again")
