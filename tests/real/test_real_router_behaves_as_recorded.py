"""What the product relies on in a router, asked of a real llama-server, so that a newer one that differs shows.

Recorded from llama-server 0.5.0-dev, commit 0c1e570.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.real_servers import RealServer, StartServer
from tests.tools.model_cache import FOLDER

pytestmark = pytest.mark.real

Event = dict[str, Any]


@pytest.fixture
def router(router_server: RealServer) -> Iterator[httpx.Client]:
    with router_server.client() as client:
        yield client


@contextmanager
def events_of(router: httpx.Client) -> Iterator[Iterator[Event]]:
    """The router's events from now on. The stream is open when the body is entered, so nothing done there is missed."""
    with router.stream("GET", "/models/sse") as stream:
        yield (json.loads(line.removeprefix("data: ")) for line in stream.iter_lines() if line.startswith("data: "))


def events_until(events: Iterator[Event], model: str, status: str) -> list[Event]:
    """Collect the events of a model up to the one that reports the status."""
    collected = []
    for event in events:
        if event["model"] == model:
            collected.append(event)
            if event["data"].get("status") == status:
                break
    return collected


def load(router: httpx.Client, model: str) -> list[Event]:
    with events_of(router) as events:
        assert router.post("/models/load", json={"model": model}).json() == {"success": True}
        return events_until(events, model, "loaded")


def let_answer(router: httpx.Client, model: str) -> None:
    """Wait for an answer of the model itself: told to exit in its first milliseconds, it can miss the order, and the
    router then kills it after ten seconds."""
    router.get("/slots", params={"model": model}).raise_for_status()


def unload(router: httpx.Client, model: str) -> list[Event]:
    let_answer(router, model)
    with events_of(router) as events:
        assert router.post("/models/unload", json={"model": model}).json() == {"success": True}
        return events_until(events, model, "unloaded")


def fail_to_load(router: httpx.Client, model: str) -> list[Event]:
    with events_of(router) as events:
        assert router.post("/models/load", json={"model": model}).json() == {"success": True}
        return events_until(events, model, "unloaded")


def listed(router: httpx.Client) -> dict[str, dict[str, Any]]:
    return {model["id"]: model for model in router.get("/models").json()["data"]}


def status_of(router: httpx.Client, model: str) -> str:
    return str(listed(router)[model]["status"]["value"])


def error_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["message"]


def test_every_model_file_is_listed_by_its_name_and_unloaded(router: httpx.Client, model_files: dict[str, Path]) -> None:
    models = listed(router)
    assert models.keys() == model_files.keys()
    assert {model["status"]["value"] for model in models.values()} == {"unloaded"}
    arguments = models["m100"]["status"]["args"]
    assert arguments[arguments.index("--model") + 1] == str(model_files["m100"])


def test_a_load_reports_its_progress_and_ends_loaded(router: httpx.Client) -> None:
    first, *between, last = load(router, "m100")
    assert first["event"] == "model_status"
    assert first["data"] == {"status": "loading"}
    assert {event["event"] for event in [*between, last]} == {"status_change"}
    progress = [event["data"]["progress"] for event in between]
    assert {(*stage["stages"], stage["current"]) for stage in progress} == {("text_model", "text_model")}
    assert [stage["value"] for stage in progress] == sorted(stage["value"] for stage in progress)
    assert progress[-1]["value"] == 1.0
    assert last["data"]["info"]["meta"]["n_ctx_train"] == 512


def test_a_loaded_model_tells_its_size_its_context_and_its_process_arguments(
    router: httpx.Client, model_files: dict[str, Path]
) -> None:
    load(router, "m100")
    model = listed(router)["m100"]
    assert model["status"]["value"] == "loaded"
    assert model["meta"]["n_ctx"] == 512
    assert model["meta"]["size"] == pytest.approx(model_files["m100"].stat().st_size, rel=0.01)
    arguments = model["status"]["args"]
    assert int(arguments[arguments.index("--port") + 1]) > 0


def test_an_unload_ends_unloaded_and_clean(router: httpx.Client) -> None:
    load(router, "tiny-llama")
    assert unload(router, "tiny-llama")[-1]["data"] == {"status": "unloaded", "exit_code": 0}
    status = listed(router)["tiny-llama"]["status"]
    assert status["value"] == "unloaded"
    assert "failed" not in status


def test_memory_rises_by_the_size_of_the_model_and_comes_back(
    router: httpx.Client, router_server: RealServer, model_files: dict[str, Path]
) -> None:
    before = router_server.resident_bytes()
    load(router, "m500")
    risen = router_server.resident_bytes() - before
    unload(router, "m500")
    left = router_server.resident_bytes() - before
    assert risen == pytest.approx(model_files["m500"].stat().st_size, rel=0.15)
    assert left < 0.02 * risen


def test_loading_a_running_model_is_refused(router: httpx.Client) -> None:
    load(router, "tiny-llama")
    again = router.post("/models/load", json={"model": "tiny-llama"})
    assert error_of(again) == (400, "model is already running")


def test_what_is_not_there_is_refused_with_404_on_load_and_400_on_unload(router: httpx.Client) -> None:
    assert error_of(router.post("/models/load", json={"model": "nope"})) == (404, "File Not Found")
    assert error_of(router.post("/models/unload", json={"model": "nope"})) == (400, "model is not found")
    assert error_of(router.post("/models/unload", json={"model": "m100"})) == (400, "model is not running")


def test_a_failed_load_is_accepted_and_then_listed_as_unloaded_and_failed(router: httpx.Client) -> None:
    assert fail_to_load(router, "broken")[-1]["data"] == {"status": "unloaded", "exit_code": 1}
    status = listed(router)["broken"]["status"]
    assert (status["value"], status["failed"], status["exit_code"]) == ("unloaded", True, 1)


def test_health_is_ok_and_the_properties_name_a_router_without_any_model(router: httpx.Client) -> None:
    assert router.get("/health").json() == {"status": "ok"}
    properties = router.get("/props").json()
    assert (properties["role"], properties["max_instances"]) == ("router", 4)
    assert properties["build_info"]


def test_slots_and_metrics_need_a_model(router: httpx.Client) -> None:
    for path in ("/slots", "/metrics"):
        assert error_of(router.get(path)) == (400, "model name is missing from the request")


def test_asking_for_slots_wakes_a_model_unless_autoload_is_refused(router: httpx.Client) -> None:
    asleep = router.get("/slots", params={"model": "tiny-llama", "autoload": "false"})
    assert error_of(asleep) == (400, "model is not loaded")
    assert status_of(router, "tiny-llama") == "unloaded"
    assert router.get("/slots", params={"model": "tiny-llama"}).json()[0]["n_ctx"] == 512
    assert status_of(router, "tiny-llama") == "loaded"


def test_a_chat_loads_its_model_and_an_unknown_one_is_refused(router: httpx.Client) -> None:
    hello = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
    answer = router.post("/v1/chat/completions", json={"model": "tiny-qwen2", **hello}).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    assert status_of(router, "tiny-qwen2") == "loaded"
    unknown = router.post("/v1/chat/completions", json={"model": "nope", **hello})
    assert error_of(unknown) == (400, "model 'nope' not found")


def test_a_full_router_evicts_the_model_that_was_used_longest_ago(start_llama_server: StartServer) -> None:
    server = start_llama_server("--models-dir", str(FOLDER), "--models-max", "2")
    with server.client() as router:
        for model in ("tiny-llama", "tiny-qwen2", "tiny-bert"):
            load(router, model)
            let_answer(router, model)
        loaded = {name for name, model in listed(router).items() if model["status"]["value"] == "loaded"}
        assert loaded == {"tiny-qwen2", "tiny-bert"}


def test_a_single_server_lists_its_model_and_cannot_load_another(single_server: RealServer) -> None:
    with single_server.client() as client:
        assert [model["id"] for model in client.get("/models").json()["data"]] == ["tiny-llama"]
        assert error_of(client.post("/models/load", json={"model": "m100"})) == (404, "File Not Found")
        assert "role" not in client.get("/props").json()
