"""How a simulated Ollama loads, keeps, evicts and unloads, and what that does to the GPU."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from models_app.simulation.catalogue import models
from models_app.simulation.devices import GIB, SimulatedGpu
from models_app.simulation.faults import Fault
from models_app.simulation.hardware import SimulatedHost
from models_app.simulation.memory import CUDA_CONTEXT_BYTES
from models_app.simulation.ollama import OllamaSimulator
from models_app.simulation.ollama_runner import OllamaSettings, Runner
from models_app.simulation.runner import Timing
from models_app.simulation.server import serve
from tests.fixtures.simulators import Simulated
from tests.simulation.recordings import connect
from tests.simulation.waiting import until


@pytest.fixture
async def client(ollama_simulator: Simulated[OllamaSimulator]) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(ollama_simulator.url) as client:
        yield client


async def load(client: httpx.AsyncClient, name: str = "llama3.1:8b", **given: Any) -> httpx.Response:
    return await client.post("/api/generate", json={"model": name, "options": {"num_ctx": 8192}, **given})


def runner_of(server: OllamaSimulator, name: str) -> Runner:
    return next(runner for runner in server.scheduler.runners if runner.model.name == name)


async def running(client: httpx.AsyncClient) -> dict[str, Any]:
    return {model["name"]: model for model in (await client.get("/api/ps")).json()["models"]}


async def test_a_load_takes_weights_cache_and_a_cuda_context(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient
) -> None:
    await load(client)
    listed = (await running(client))["llama3.1:8b"]
    cache_bytes = 2 * 32 * 8 * 128 * 8192 * 2
    assert ollama_simulator.host.used_bytes(0) == pytest.approx(listed["size_vram"] + CUDA_CONTEXT_BYTES, abs=100)
    assert listed["size"] == listed["size_vram"]
    assert 4.5e9 + cache_bytes < listed["size"] < 5.1e9 + cache_bytes


async def test_a_model_that_is_being_loaded_is_not_listed_while_its_memory_rises(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient
) -> None:
    ollama_simulator.server.faults.add(Fault.STALL_LOAD)
    pending = asyncio.create_task(load(client))
    await until(lambda: ollama_simulator.host.used_bytes(0) > 2 * GIB, "a rise")
    assert await running(client) == {}
    pending.cancel()
    await until(lambda: ollama_simulator.host.used_bytes(0) == 0, "the end of an abandoned load")


async def test_another_context_length_reloads_and_the_same_does_not(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient
) -> None:
    await load(client)
    await load(client, keep_alive=90)
    assert ollama_simulator.server.loads == 1
    await load(client, options={"num_ctx": 4096})
    assert ollama_simulator.server.loads == 2
    assert (await running(client))["llama3.1:8b"]["context_length"] == 4096


async def test_a_request_without_options_reloads_what_was_loaded_with_options(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient
) -> None:
    await load(client)
    await load(client, options={})
    assert ollama_simulator.server.loads == 2


async def test_an_unload_is_acknowledged_before_the_memory_is_free(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient
) -> None:
    await load(client)
    ollama_simulator.server.timing.release_seconds = 0.2
    runner = runner_of(ollama_simulator.server, "llama3.1:8b")
    answer = await load(client, keep_alive=0)
    assert answer.json()["done_reason"] == "unload"
    assert not runner.gone.is_set()
    assert ollama_simulator.host.used_bytes(0) > 0
    await runner.gone.wait()
    assert ollama_simulator.host.used_bytes(0) == 0
    assert await running(client) == {}


async def test_a_keep_alive_expires(ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient) -> None:
    await load(client, keep_alive="20ms")
    await until(lambda: ollama_simulator.server.loaded == [], "the expiry")
    assert ollama_simulator.host.used_bytes(0) == 0


async def test_the_idle_model_with_the_shortest_keep_alive_makes_room() -> None:
    host = SimulatedHost("testbed", [SimulatedGpu("GPU", 24 * GIB)])
    names = ("llama3.2:3b", "qwen3:8b", "qwen2.5:7b")
    server = OllamaSimulator(host, models(*names), settings=OllamaSettings(max_loaded_models=2))
    async with serve(server) as serving, connect(serving.url) as client:
        await load(client, "llama3.2:3b", keep_alive="1h")
        await load(client, "qwen3:8b", keep_alive="5m")
        await load(client, "qwen2.5:7b", keep_alive="10m")
        assert set(server.loaded) == {"llama3.2:3b", "qwen2.5:7b"}


async def test_what_does_not_fit_beside_the_loaded_model_evicts_it(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient
) -> None:
    await load(client, keep_alive=-1)
    await load(client, "deepseek-r1:32b", options={"num_ctx": 2048})
    assert ollama_simulator.server.loaded == ["deepseek-r1:32b"]


async def test_what_fits_no_gpu_is_silently_put_partly_into_ram(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient
) -> None:
    other = ollama_simulator.host.spawn("python3")
    ollama_simulator.host.allocate(other, 0, 10 * GIB)
    before = ollama_simulator.host.free_ram_bytes()
    assert (await load(client, "deepseek-r1:32b")).status_code == 200
    listed = (await running(client))["deepseek-r1:32b"]
    assert 0 < listed["size_vram"] < listed["size"]
    assert before - ollama_simulator.host.free_ram_bytes() == listed["size"] - listed["size_vram"]


async def test_layers_that_were_demanded_and_do_not_fit_are_out_of_memory(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient
) -> None:
    other = ollama_simulator.host.spawn("python3")
    ollama_simulator.host.allocate(other, 0, 10 * GIB)
    answer = await load(client, "deepseek-r1:32b", options={"num_ctx": 8192, "num_gpu": 65})
    assert answer.status_code == 500
    assert "cudaMalloc failed: out of memory" in answer.json()["error"]
    assert ollama_simulator.host.used_bytes(0) == 10 * GIB


async def test_the_gpu_with_most_free_memory_is_taken_unless_one_is_named() -> None:
    host = SimulatedHost("testbed", [SimulatedGpu("GPU", 24 * GIB), SimulatedGpu("GPU", 24 * GIB)])
    host.allocate(host.spawn("python3"), 0, GIB)
    server = OllamaSimulator(host, models("llama3.1:8b", "qwen3:8b"))
    async with serve(server) as serving, connect(serving.url) as client:
        await load(client)
        assert set(host.process(server.pids()[1]).vram_bytes) == {1}
        await load(client, "qwen3:8b", options={"num_ctx": 8192, "main_gpu": 1})
        assert set(host.process(server.pids()[2]).vram_bytes) == {1}


async def test_a_full_queue_answers_503() -> None:
    host = SimulatedHost("testbed", [SimulatedGpu("GPU", 24 * GIB)])
    slow = Timing(shortest_load_seconds=60)
    server = OllamaSimulator(host, models("llama3.1:8b", "qwen3:8b"), settings=OllamaSettings(max_queue=1), timing=slow)
    async with serve(server) as serving, connect(serving.url) as client:
        first = asyncio.create_task(load(client))
        await until(lambda: server.loads == 1, "the first load")
        second = asyncio.create_task(load(client, "qwen3:8b"))
        await until(lambda: server.requests.count(("POST", "/api/generate")) == 2, "the second request")
        answer = await load(client, "qwen3:8b")
        assert answer.status_code == 503
        assert answer.json() == {"error": "server busy, please try again.  maximum pending requests exceeded"}
        for task in (first, second):
            task.cancel()


async def test_a_model_that_works_is_unloaded_when_it_is_done(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient
) -> None:
    await load(client)
    runner = runner_of(ollama_simulator.server, "llama3.1:8b")
    ollama_simulator.server.scheduler.begin_use(runner)
    await load(client, keep_alive=0)
    assert (await running(client)).keys() == {"llama3.1:8b"}
    ollama_simulator.server.scheduler.end_use(runner)
    await runner.gone.wait()
    assert await running(client) == {}


async def test_a_pulled_model_is_installed(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/pull", json={"model": "phi4:14b"})).text.rstrip().endswith('{"status":"success"}')
    names = [model["name"] for model in (await client.get("/api/tags")).json()["models"]]
    assert "phi4:14b" in names
