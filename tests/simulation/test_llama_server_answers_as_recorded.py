"""Every request that was put to a real llama-server is put to the simulated one, in both modes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from models_app.simulation.hardware import SimulatedHost
from models_app.simulation.llama_router import LlamaRouterSimulator
from models_app.simulation.llama_single import LlamaServerSimulator
from models_app.simulation.runner import Timing
from models_app.simulation.server import Serving, serve
from tests.simulation import recordings
from tests.simulation.recordings import FOLDER, Recording, assert_answers_as_recorded, connect, outline, replay

MODELS = [
    recordings.TINY_LLAMA,
    recordings.TINY_QWEN2,
    recordings.TINY_GEMMA,
    recordings.M100,
    recordings.M500,
    recordings.BROKEN,
]
LOADED_BEFORE = {
    "router_models_one_loaded": ["tiny-llama"],
    "router_models_after_broken": ["tiny-llama", "broken"],
    "router_models_after_child_kill": ["broken", "m500", "m100"],
    "router_reload": ["broken", "m100"],
    "router_double_load": ["tiny-llama"],
    "router_metrics_loaded": ["tiny-llama"],
    "router_props_loaded": ["tiny-llama"],
    "router_slots_loaded": ["tiny-llama"],
    "router_slots_busy": ["m100"],
    "router_unload_busy": ["m100"],
    "router_unload_m500": ["m500"],
    "router_unload_tiny-qwen2": ["tiny-qwen2"],
    "router_third_load_busy": ["m100", "m500"],
}
BUSY = {"router_slots_busy", "router_unload_busy", "router_third_load_busy"}


@pytest.fixture
async def router() -> AsyncIterator[Serving]:
    server = LlamaRouterSimulator(SimulatedHost("recorded", []), MODELS, models_max=2, context_length=512)
    async with serve(server) as serving:
        yield serving


@pytest.mark.parametrize("recording", recordings.load("router_"), ids=lambda recording: recording.name)
async def test_the_router_answers_as_recorded(router: Serving, recording: Recording) -> None:
    server = router.application
    assert isinstance(server, LlamaRouterSimulator)
    for name in LOADED_BEFORE.get(recording.name, []):
        await server.preload(name)
        server.children[name].busy = int(recording.name in BUSY)
    if recording.name == "router_models_after_child_kill":
        server.host.end(server.children["m500"].pid or 0)
    assert_answers_as_recorded(await replay(recording, router.url), recording)


SINGLE: dict[str, dict[str, Any]] = {
    "single_": {"metrics": True, "changeable_props": True, "slots": 2, "context_length": 256, "alias": "tiny"},
    "err_": {"metrics": True, "changeable_props": True},
    "key_": {"metrics": True, "api_key": "sekret"},
    "bert_": {"model": recordings.TINY_BERT},
    "single_metrics_busy": {"slots": 1},
    "single_health_busy": {"slots": 1},
    "single_slots_busy": {"slots": 1},
    "err_metrics_disabled": {"show_slots": False},
    "err_props_post_disabled": {"show_slots": False},
    "err_slots_disabled": {"show_slots": False},
}
"""The flags of the servers that were recorded, by the name or the beginning of the name of a recording."""
RECORDED_SINGLE = [recording for prefix in ("single_", "err_", "key_", "bert_") for recording in recordings.load(prefix)]


@pytest.mark.parametrize("recording", RECORDED_SINGLE, ids=lambda recording: recording.name)
async def test_a_server_with_one_model_answers_as_recorded(recording: Recording) -> None:
    flags = dict(SINGLE.get(recording.name) or SINGLE[recording.name.split("_")[0] + "_"])
    model = flags.pop("model", recordings.TINY_LLAMA)
    server = LlamaServerSimulator(SimulatedHost("recorded", []), model, **flags)
    async with serve(server) as serving:
        await server.ready.wait()
        server.busy = int(recording.name == "single_slots_busy")
        assert_answers_as_recorded(await replay(recording, serving.url), recording)


async def test_a_server_that_loads_answers_503_to_every_path() -> None:
    slow = Timing(shortest_load_seconds=60)
    server = LlamaServerSimulator(SimulatedHost("recorded", []), recordings.TINY_LLAMA, timing=slow)
    async with serve(server) as serving, connect(serving.url) as client:
        for path in ("/health", "/v1/models", "/slots"):
            answer = await client.get(path)
            assert answer.status_code == 503
            assert answer.json() == {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}


async def test_the_router_tells_of_a_load_and_an_unload_as_recorded(router: Serving) -> None:
    recorded = [
        json.loads(line.split("data: ", 1)[1])
        for line in (FOLDER / "router_sse.txt").read_text().splitlines()
        if '"model":"m500"' in line
    ]
    first_round = recorded[:5]
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connect(router.url))
        stream = await stack.enter_async_context(client.stream("GET", "/models/sse"))
        assert stream.headers["content-type"] == "text/event-stream"
        await client.post("/models/load", json={"model": "m500"})
        told: list[Any] = []
        async for line in stream.aiter_lines():
            if line.startswith("data: "):
                told.append(json.loads(line.removeprefix("data: ")))
            if told and told[-1].get("data", {}).get("status") == "loaded":
                await client.post("/models/unload", json={"model": "m500"})
            if len(told) == len(first_round):
                break
    assert [outline(event) for event in told] == [outline(event) for event in first_round]
