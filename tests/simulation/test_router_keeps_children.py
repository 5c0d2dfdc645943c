"""How a simulated router starts and stops its children, and which requests wake a model."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from models_app.simulation.catalogue import CATALOGUE
from models_app.simulation.devices import GIB
from models_app.simulation.llama_router import LlamaRouterSimulator
from models_app.simulation.llama_single import LlamaServerSimulator
from models_app.simulation.server import serve
from tests.fixtures.simulators import Simulated
from tests.simulation.recordings import connect
from tests.simulation.waiting import until

SMALL, EMBEDDING, LARGE, BROKEN = (
    "llama-3.1-8b-instruct-q8_0",
    "bge-m3-f16",
    "qwen2.5-coder-32b-instruct-q8_0",
    "mixtral-truncated-q4_k_m",
)


@pytest.fixture
async def client(router_simulator: Simulated[LlamaRouterSimulator]) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(router_simulator.url) as client:
        yield client


async def test_a_child_is_a_process_of_its_own_with_a_port(
    router_simulator: Simulated[LlamaRouterSimulator], client: httpx.AsyncClient
) -> None:
    await router_simulator.server.preload(SMALL)
    (process,) = router_simulator.host.sample().gpus[0].processes or ()
    assert process.parent_pid == router_simulator.server.children.server_pid
    assert process.pid in router_simulator.server.pids()
    entries = {entry["id"]: entry for entry in (await client.get("/models")).json()["data"]}
    args = entries[SMALL]["status"]["args"]
    assert int(args[args.index("--port") + 1]) > 0
    assert entries[SMALL]["meta"]["n_ctx_train"] == 131_072


async def test_the_least_recently_used_child_makes_room(
    router_simulator: Simulated[LlamaRouterSimulator], client: httpx.AsyncClient
) -> None:
    server = router_simulator.server
    await server.preload(SMALL)
    await server.preload(EMBEDDING)
    await client.post("/v1/chat/completions", json={"model": SMALL, "messages": []})
    server.children[LARGE].model = CATALOGUE["llama3.2:3b"]
    await server.preload(LARGE)
    assert server.children[EMBEDDING].value == "unloaded"
    assert server.children[SMALL].value == "loaded"


async def test_a_broken_file_ends_unloaded_and_failed(
    router_simulator: Simulated[LlamaRouterSimulator], client: httpx.AsyncClient
) -> None:
    assert (await client.post("/models/load", json={"model": BROKEN})).json() == {"success": True}
    await router_simulator.server.children[BROKEN].settled.wait()
    entries = {entry["id"]: entry["status"] for entry in (await client.get("/models")).json()["data"]}
    assert entries[BROKEN].items() >= {"value": "unloaded", "failed": True, "exit_code": 1}.items()


async def test_what_fits_no_gpu_goes_partly_into_ram(router_simulator: Simulated[LlamaRouterSimulator]) -> None:
    before = router_simulator.host.free_ram_bytes()
    await router_simulator.server.preload(LARGE)
    assert router_simulator.server.loaded == [LARGE]
    assert before - router_simulator.host.free_ram_bytes() > 8 * GIB


@pytest.mark.parametrize("path", ["/slots", "/metrics", "/props"])
async def test_looking_at_a_model_wakes_it_and_is_counted(
    router_simulator: Simulated[LlamaRouterSimulator], client: httpx.AsyncClient, path: str
) -> None:
    assert (await client.get(path, params={"model": SMALL})).status_code == 200
    assert router_simulator.server.wakes == [(path, SMALL)]
    assert router_simulator.server.loaded == [SMALL]


async def test_health_models_and_props_wake_nothing(
    router_simulator: Simulated[LlamaRouterSimulator], client: httpx.AsyncClient
) -> None:
    for path in ("/health", "/models", "/models?reload=1", "/props", "/slots?autoload=false&model=" + SMALL):
        await client.get(path)
    assert router_simulator.server.wakes == []
    assert router_simulator.server.loads == 0


async def test_unloading_a_model_that_is_being_loaded_kills_it(
    router_simulator: Simulated[LlamaRouterSimulator], client: httpx.AsyncClient
) -> None:
    router_simulator.server.timing.shortest_load_seconds = 60
    await client.post("/models/load", json={"model": SMALL})
    await until(lambda: router_simulator.host.used_bytes(0) > 0, "a rise")
    assert (await client.post("/models/unload", json={"model": SMALL})).json() == {"success": True}
    assert router_simulator.server.children[SMALL].exit_code == 1
    assert router_simulator.host.used_bytes(0) == 0


async def test_a_downloaded_model_is_listed(
    router_simulator: Simulated[LlamaRouterSimulator], client: httpx.AsyncClient
) -> None:
    await client.post("/models", json={"model": "llama3.2:3b"})
    await until(lambda: "llama3.2:3b" in router_simulator.server.children.by_name, "the download")


async def test_a_router_that_is_started_again_has_nothing_loaded(
    router_simulator: Simulated[LlamaRouterSimulator], client: httpx.AsyncClient
) -> None:
    await router_simulator.server.preload(SMALL)
    await router_simulator.serving.close()
    assert router_simulator.host.used_bytes(0) == 0
    await router_simulator.serving.open()
    states = {entry["status"]["value"] for entry in (await client.get("/models")).json()["data"]}
    assert states == {"unloaded"}


async def test_a_server_with_one_model_loads_it_at_every_start(
    single_simulator: Simulated[LlamaServerSimulator],
) -> None:
    first_pid = single_simulator.server.server_pid
    held_bytes = single_simulator.host.used_bytes(0)
    await single_simulator.serving.close()
    assert single_simulator.host.used_bytes(0) == 0
    await single_simulator.serving.open()
    await single_simulator.server.ready.wait()
    assert single_simulator.host.used_bytes(0) == held_bytes > 0
    assert single_simulator.server.server_pid != first_pid


async def test_a_server_whose_model_does_not_fit_exits(router_simulator: Simulated[LlamaRouterSimulator]) -> None:
    host = router_simulator.host
    host.allocate_ram(host.spawn("python3"), host.free_ram_bytes())
    server = LlamaServerSimulator(host, CATALOGUE[LARGE])
    async with serve(server) as serving, connect(serving.url) as client:
        await until(lambda: server.exit_code == 1, "the exit")
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/health")
