"""llama-server's own words, recorded from a router and from a server with one model, and what is sent to them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx
import pytest

from models_app.backends.detect import backend_for, connect, identify
from models_app.backends.errors import (
    BackendError,
    BadAnswer,
    Busy,
    LoadFailed,
    NotFound,
    Rejected,
    ServerFault,
    TimedOut,
    Unauthorized,
)
from models_app.backends.http import Limits
from models_app.backends.llama_answers import load_event
from models_app.backends.protocol import Backend, BackendKind, LoadOptions, ModelState, Progress
from tests.backends.conftest import RECORDED, Replay, recorded

URL = "http://127.0.0.1:8080"
NO_EVENTS = httpx.Response(404)


def backend_over(mode: str, answers: dict[str, Any], **settings: Any) -> tuple[Backend, Replay]:
    replay = Replay(answers)
    return backend_for(mode, URL, transport=replay, **settings), replay


def router(answers: dict[str, Any], **settings: Any) -> tuple[Backend, Replay]:
    return backend_over("router", {"GET /models/sse": NO_EVENTS} | answers, **settings)


def listing(status: dict[str, Any], name: str = "m100") -> dict[str, Any]:
    return {"data": [{"id": name, "status": status}]}


async def load(backend: Backend, name: str = "m100") -> list[Progress]:
    async with aclosing(backend.load(name, LoadOptions())) as steps:
        return [progress async for progress in steps]


async def test_a_routers_list_tells_what_is_loaded_and_what_has_failed() -> None:
    backend, replay = router({"GET /models": "router_models_after_child_kill"})
    observation = await backend.observe()
    [model] = observation.resident
    assert (model.name, model.state, model.size_bytes) == ("m100", ModelState.LOADED, 103548928)
    assert (model.context_length, model.port) == (512, 38143)
    assert observation.failed["m500"] == "Its server process ended with exit code 1."
    assert [call for call, _ in replay.requests] == ["GET /models"], "anything else could wake a model"


async def test_a_clean_unload_that_the_router_calls_failed_has_not_failed() -> None:
    backend, _ = router({"GET /models": "router_models_after_child_kill", "POST /models/unload": "router_unload_m500"})
    await backend.unload("m500")
    assert "m500" not in (await backend.observe()).failed


async def test_the_context_of_a_loading_model_is_that_of_one_slot() -> None:
    args = ["llama-server", "-c", "8192", "--parallel", "4", "--port", "40001"]
    backend, _ = router({"GET /models": listing({"value": "loading", "args": args})})
    [model] = (await backend.observe()).resident
    assert (model.state, model.context_length, model.parallel) == (ModelState.LOADING, 2048, 4)


async def test_a_sleeping_model_is_resident() -> None:
    backend, _ = router({"GET /models": listing({"value": "sleeping"})})
    [model] = (await backend.observe()).resident
    assert model.state is ModelState.SLEEPING


async def test_a_routers_models_are_installed_with_their_path() -> None:
    backend, _ = router({"GET /models": "router_models_one_loaded"})
    models = {model.name: model for model in await backend.installed()}
    assert models["m500"].path == "/srv/models/m500.gguf"
    assert models["m500"].size_bytes == 0
    assert models["tiny-llama"].size_bytes == 651008
    assert models["tiny-llama"].quantization == "F16"


async def test_a_model_that_is_being_downloaded_is_not_installed() -> None:
    backend, _ = router({"GET /models": listing({"value": "downloading"})})
    assert await backend.installed() == []


async def test_a_load_follows_the_list_until_it_says_loaded() -> None:
    stages = [listing({"value": value}) for value in ("loading", "loading", "loaded")]
    backend, replay = router({"POST /models/load": "router_load_m100", "GET /models": stages})
    await load(backend)
    assert ("POST /models/load", {"model": "m100"}) in replay.requests


async def test_the_order_to_load_goes_out_before_anything_else() -> None:
    """It has the kept connection: a new one may wait until the server gives up an idle one, five seconds."""
    backend, replay = router({"POST /models/load": "router_load_m100", "GET /models": listing({"value": "loaded"})})
    await load(backend)
    assert [call for call, _ in replay.requests][:2] == ["POST /models/load", "GET /models/sse"]


async def test_a_load_reports_the_progress_of_the_events() -> None:
    events = "\n\n".join(
        "data: "
        + json.dumps({"model": "m100", "event": "status_change", "data": {"status": "loading", "progress": progress}})
        for progress in [
            {"stages": ["text_model", "mmproj_model"], "current": "text_model", "value": 0.5},
            {"stages": ["text_model", "mmproj_model"], "current": "mmproj_model", "value": 0.5},
        ]
    )
    backend, _ = router(
        {
            "POST /models/load": "router_load_m100",
            "GET /models": [listing({"value": "loading"}), listing({"value": "loaded"})],
            "GET /models/sse": httpx.Response(200, content=f"{events}\n\n".encode()),
        }
    )
    assert [step.fraction for step in await load(backend)] == [None, 0.25, 0.75]


def test_every_recorded_event_is_read_or_passed_over() -> None:
    lines = [line.split(" ", 1)[1].strip() for line in (RECORDED / "router_sse.txt").read_text().splitlines()[1:]]
    events = [
        load_event(line.split("data:", 1)[1].join(("data:", "")).encode(), "m500") for line in lines if "data:" in line
    ]
    seen = [event for event in events if event]
    assert {event.status for event in seen} >= {"loading", "loaded", "unloaded"}
    assert {event.fraction for event in seen} == {None, 0.0, 1.0}


@pytest.mark.parametrize("line", [b"", b": ping", b"data:", b"data: []", b"data: {", b'data: {"model": "m500", "data": 1}'])
def test_a_line_that_is_no_event_is_passed_over(line: bytes) -> None:
    assert load_event(line, "m500") is None


async def test_a_load_that_is_running_already_is_followed() -> None:
    backend, replay = router(
        {
            "POST /models/load": "router_double_load",
            "GET /models": [listing({"value": "loading"}), listing({"value": "loaded"})],
        }
    )
    await load(backend)
    assert [call for call, _ in replay.requests].count("GET /models") == 2


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"POST /models/load": "router_load_unknown"}, NotFound),
        ({"POST /models/load": "router_third_load_busy"}, Busy),
        ({"POST /models/load": "router_load_m100", "GET /models": listing({"value": "unloaded"})}, LoadFailed),
        ({"POST /models/load": "router_load_m100", "GET /models": {"data": []}}, NotFound),
        ({"POST /models/load": "router_load_m100", "GET /models": {}}, BadAnswer),
    ],
)
async def test_a_load_that_cannot_be_is_told_apart(answers: dict[str, Any], expected: type[BackendError]) -> None:
    backend, _ = router(answers)
    with pytest.raises(BackendError) as caught:
        await load(backend)
    assert type(caught.value) is expected


async def test_a_load_that_is_stuck_times_out_and_is_stopped() -> None:
    backend, replay = router(
        {
            "POST /models/load": "router_load_m100",
            "POST /models/unload": "router_unload_m500",
            "GET /models": listing({"value": "loading"}),
        },
        limits=Limits(load_seconds=0.05),
    )
    with pytest.raises(TimedOut):
        await load(backend)
    assert replay.requests[-1] == ("POST /models/unload", {"model": "m100"})


async def test_an_abandoned_load_of_another_client_is_left_alone() -> None:
    event = b'data: {"model":"m100","event":"model_status","data":{"status":"loading"}}\n\n'
    backend, replay = router(
        {
            "POST /models/load": "router_double_load",
            "GET /models": listing({"value": "loading"}),
            "GET /models/sse": httpx.Response(200, content=event),
        }
    )
    async with aclosing(backend.load("m100", LoadOptions())) as steps:
        await anext(steps)
    assert "POST /models/unload" not in [call for call, _ in replay.requests]


@asynccontextmanager
async def cut_off_while(
    replay: Replay, order: str, steps: AsyncGenerator[Progress, None]
) -> AsyncIterator[asyncio.Task[Progress]]:
    """The first step of a call, cancelled as soon as the order has arrived, which is answered after the block."""
    answer, was_ordered, may_answer = replay.handler, asyncio.Event(), asyncio.Event()

    async def answer_late(request: httpx.Request) -> httpx.Response:
        if f"{request.method} {request.url.path}" == order:
            was_ordered.set()
            await may_answer.wait()
        return answer(request)

    replay.handler = answer_late
    first: asyncio.Task[Progress] = asyncio.create_task(anext(steps))
    await was_ordered.wait()
    first.cancel()
    yield first
    may_answer.set()


@pytest.mark.parametrize(("call", "order"), [("load", "POST /models/load"), ("pull", "POST /models")])
async def test_what_is_cut_off_while_it_is_ordered_is_stopped_once_the_router_has_answered(call: str, order: str) -> None:
    backend, replay = router({order: {"success": True}, "POST /models/unload": {"success": True}})
    steps = backend.load("m100", LoadOptions()) if call == "load" else backend.pull("ggml-org/x:Q4_0")
    async with cut_off_while(replay, order, steps) as cut_off:
        await asyncio.sleep(0)
        assert "POST /models/unload" not in [call for call, _ in replay.requests], "the router may not know it yet"
    with pytest.raises(asyncio.CancelledError):
        await cut_off
    assert replay.requests[-1][0] == "POST /models/unload"


async def test_an_order_that_is_refused_after_it_was_cut_off_is_cut_off() -> None:
    backend, replay = router({"POST /models/load": "router_load_unknown"})
    async with cut_off_while(replay, "POST /models/load", backend.load("m100", LoadOptions())) as cut_off:
        pass
    with pytest.raises(asyncio.CancelledError):
        await cut_off


async def test_a_router_does_not_unload_what_it_does_not_know() -> None:
    backend, _ = router({"POST /models/unload": ["router_unload_unknown", "router_unload_not_loaded"]})
    with pytest.raises(NotFound):
        await backend.unload("nope")
    await backend.unload("m500")


async def test_a_download_is_followed_to_its_end() -> None:
    files = {"https://a/1.gguf": {"done": 50, "total": 100}, "https://a/2.gguf": {"done": 0, "total": 100}}
    stages = [
        listing({"value": "downloading", "progress": files}, "ggml-org/x:Q4_0"),
        listing({"value": "unloaded"}, "ggml-org/x:Q4_0"),
    ]
    backend, _ = router({"POST /models": "router_download_offline", "GET /models": stages})
    [step] = [progress async for progress in backend.pull("ggml-org/x")]
    assert (step.completed_bytes, step.total_bytes, step.fraction) == (50, 200, 0.25)


async def test_a_download_that_leaves_nothing_has_failed() -> None:
    """The router answers success and announces the end of the download although it had no network."""
    backend, _ = router({"POST /models": "router_download_offline", "GET /models": "router_models_initial"})
    with pytest.raises(ServerFault, match="could not download"):
        [progress async for progress in backend.pull("ggml-org/x:Q4_0")]


async def test_a_download_without_end_is_cancelled() -> None:
    backend, replay = router(
        {
            "POST /models": "router_download_offline",
            "POST /models/unload": "router_unload_m500",
            "GET /models": listing({"value": "downloading"}, "ggml-org/x:Q4_0"),
        },
        limits=Limits(stream_seconds=-1),
    )
    with pytest.raises(TimedOut):
        [progress async for progress in backend.pull("ggml-org/x:Q4_0")]
    assert replay.requests[-1] == ("POST /models/unload", {"model": "ggml-org/x:Q4_0"})


async def test_what_stands_in_a_preset_cannot_be_deleted() -> None:
    backend, _ = router({"DELETE /models": "router_delete_preset"})
    with pytest.raises(Rejected, match="not removable"):
        await backend.delete("tiny-llama")


async def test_a_server_with_one_model_is_observed() -> None:
    backend, _ = backend_over("single", {"GET /props": "single_props", "GET /v1/models": "single_v1_models"})
    [model] = (await backend.observe()).resident
    assert (model.name, model.state, model.context_length, model.parallel) == ("tiny", ModelState.LOADED, 256, 2)
    [installed] = await backend.installed()
    assert (installed.path, installed.size_bytes) == ("/srv/models/tiny-llama.gguf", 651008)
    assert (await backend.shape("tiny")).embedding_length == 64


async def test_a_server_with_one_model_that_sleeps_or_loads_is_told_apart() -> None:
    props = json.loads((RECORDED / "single_props.json").read_text())["body"]
    loading = httpx.Response(503, json={"error": {"code": 503, "message": "Loading model"}})
    backend, _ = backend_over(
        "single", {"GET /props": [props | {"is_sleeping": True}, loading], "GET /v1/models": "single_v1_models"}
    )
    states = [(await backend.observe()).resident[0].state for _ in range(2)]
    assert states == [ModelState.SLEEPING, ModelState.LOADING]


async def test_a_server_that_is_still_loading_is_recognised() -> None:
    loading = httpx.Response(503, json={"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}})
    info = await identify(URL, transport=Replay({"GET /api/version": loading, "GET /props": loading}))
    assert (info.kind, info.mode) == (BackendKind.LLAMA_SERVER, "single")


async def test_a_missing_key_is_asked_for() -> None:
    with pytest.raises(Unauthorized, match="Invalid API Key") as caught:
        await connect(URL, transport=Replay({"GET /api/version": recorded("key_props_nokey")}))
    assert "API key" in caught.value.hint


@pytest.mark.parametrize(
    "page", [httpx.Response(200, html="<h1>It works</h1>"), httpx.Response(200, json=[1]), httpx.Response(404)]
)
async def test_another_program_is_recognised_as_one(page: httpx.Response) -> None:
    with pytest.raises(BadAnswer, match="not as Ollama or llama-server"):
        await connect(URL, transport=Replay({"GET /api/version": page, "GET /props": page}))


async def test_a_proxy_with_nothing_behind_it_is_no_wrong_program() -> None:
    with pytest.raises(ServerFault):
        await connect(URL, transport=Replay({"GET /api/version": httpx.Response(502)}))
