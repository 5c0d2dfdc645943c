"""Each fault does what its name says, and only as often as it was asked to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from models_app.simulation.asgi import HUGE_BODY_BYTES, REQUESTS_KEPT
from models_app.simulation.faults import Fault
from models_app.simulation.hardware import SimulatedHost
from models_app.simulation.llama_router import LlamaRouterSimulator
from models_app.simulation.ollama import OllamaSimulator
from models_app.simulation.server import serve
from tests.fixtures.simulators import Simulated
from tests.simulation.recordings import connect
from tests.simulation.waiting import until

LOAD = {"model": "llama3.1:8b", "options": {"num_ctx": 8192}}
UNLOAD = {"model": "llama3.1:8b", "keep_alive": 0}


@pytest.fixture
async def client(ollama_simulator: Simulated[OllamaSimulator]) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(ollama_simulator.url) as client:
        yield client


async def test_close_ends_the_connection_without_an_answer(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient
) -> None:
    ollama_simulator.server.faults.add(Fault.CLOSE, times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get("/api/version")
    assert (await client.get("/api/version")).status_code == 200


async def test_a_server_that_runs_for_days_remembers_its_latest_requests_only(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient
) -> None:
    requests = ollama_simulator.server.requests
    requests.extend([("GET", "/api/ps")] * (REQUESTS_KEPT + 1))
    await client.get("/api/version")
    assert (len(requests), requests[-1]) == (REQUESTS_KEPT, ("GET", "/api/version"))


async def test_hang_never_answers(ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient) -> None:
    ollama_simulator.server.faults.add(Fault.HANG)
    with pytest.raises(httpx.ReadTimeout):
        await client.get("/api/version", timeout=0.1)


async def test_garbage_is_no_json(ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient) -> None:
    ollama_simulator.server.faults.add(Fault.GARBAGE)
    with pytest.raises(ValueError):
        (await client.get("/api/tags")).json()


async def test_a_huge_body_has_ten_mebibytes(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient
) -> None:
    ollama_simulator.server.faults.add(Fault.HUGE_BODY)
    assert len((await client.get("/api/tags")).content) > HUGE_BODY_BYTES


@pytest.mark.parametrize(("fault", "status"), [(Fault.REDIRECT, 302), (Fault.UNAUTHORIZED, 401), (Fault.SERVER_ERROR, 500)])
async def test_a_fault_answers_with_its_status(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient, fault: Fault, status: int
) -> None:
    ollama_simulator.server.faults.add(fault, path="/api/tags")
    assert (await client.get("/api/tags")).status_code == status
    assert (await client.get("/api/version")).status_code == 200


@pytest.mark.parametrize(
    ("fault", "words"),
    [(Fault.OUT_OF_MEMORY, "cudaMalloc failed: out of memory"), (Fault.DIE_WHILE_LOADING, "signal: killed")],
)
async def test_a_load_that_fails_leaves_no_memory_behind(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient, fault: Fault, words: str
) -> None:
    ollama_simulator.server.faults.add(fault, times=1)
    answer = await client.post("/api/generate", json=LOAD)
    assert answer.status_code == 500
    assert words in answer.json()["error"]
    assert ollama_simulator.host.used_bytes(0) == 0
    assert ollama_simulator.server.loaded == []


async def test_a_pretended_load_loads_nothing(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient
) -> None:
    ollama_simulator.server.faults.add(Fault.PRETEND_TO_LOAD)
    answer = await client.post("/api/generate", json=LOAD)
    assert answer.json()["done_reason"] == "load"
    assert ollama_simulator.server.loaded == []
    assert ollama_simulator.host.used_bytes(0) == 0


async def test_held_memory_outlives_the_listing(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient
) -> None:
    ollama_simulator.server.faults.add(Fault.HOLD_MEMORY)
    await client.post("/api/generate", json=LOAD)
    await client.post("/api/generate", json=UNLOAD)
    await until(lambda: ollama_simulator.server.loaded == [], "the unload")
    assert ollama_simulator.host.used_bytes(0) > 0


async def test_stuck_stopping_keeps_listing_a_model_that_has_expired(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient
) -> None:
    ollama_simulator.server.faults.add(Fault.STUCK_STOPPING)
    await client.post("/api/generate", json=LOAD)
    answer = await client.post("/api/generate", json=UNLOAD)
    listed = (await client.get("/api/ps")).json()["models"]
    assert [model["name"] for model in listed] == ["llama3.1:8b"]
    assert listed[0]["expires_at"] <= answer.json()["created_at"]


async def test_another_client_loads_the_model_again(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient
) -> None:
    ollama_simulator.server.faults.add(Fault.RELOAD_DURING_UNLOAD, times=1)
    await client.post("/api/generate", json=LOAD)
    await client.post("/api/generate", json=UNLOAD)
    await until(lambda: ollama_simulator.server.loads == 2, "the second load")
    await until(lambda: ollama_simulator.server.loaded == ["llama3.1:8b"], "the return of the model")


async def test_a_router_child_that_dies_shows_as_failed(router_simulator: Simulated[LlamaRouterSimulator]) -> None:
    server = router_simulator.server
    server.faults.add(Fault.DIE_WHILE_LOADING, times=1)
    await server.preload("bge-m3-f16")
    assert server.children["bge-m3-f16"].exit_code == 1
    assert router_simulator.host.used_bytes(0) == 0
    await server.preload("bge-m3-f16")
    assert server.loaded == ["bge-m3-f16"]


async def test_a_closed_server_refuses_and_an_opened_one_answers_at_the_same_url(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient
) -> None:
    await ollama_simulator.serving.close()
    with pytest.raises(httpx.ConnectError):
        await client.get("/api/version")
    await ollama_simulator.serving.open()
    assert (await client.get("/api/version")).status_code == 200


async def test_faults_can_be_set_over_http_only_where_that_was_asked_for(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient
) -> None:
    wanted = {"fault": "server_error", "times": 1}
    assert (await client.post("/simulation/faults", json=wanted)).status_code == 404
    controlled = OllamaSimulator(SimulatedHost("testbed", []), control=True)
    async with serve(controlled) as serving, connect(serving.url) as other:
        assert (await other.post("/simulation/faults", json=wanted)).json() == {"faults": ["server_error"]}
        assert (await other.get("/api/version")).status_code == 500
        assert (await other.get("/simulation/faults")).json() == {"faults": []}


async def test_a_stalled_load_ends_when_the_client_leaves(
    ollama_simulator: Simulated[OllamaSimulator], client: httpx.AsyncClient
) -> None:
    ollama_simulator.server.faults.add(Fault.STALL_LOAD, times=1)
    pending = asyncio.create_task(client.post("/api/generate", json=LOAD))
    await until(lambda: ollama_simulator.server.faults.active() == [], "the stall")
    assert ollama_simulator.host.used_bytes(0) > 0
    pending.cancel()
    await until(lambda: ollama_simulator.host.used_bytes(0) == 0, "the abort")
    assert (await client.post("/api/generate", json=LOAD)).status_code == 200
