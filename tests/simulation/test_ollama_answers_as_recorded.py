"""Every request that was put to a real Ollama is put to the simulated one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from models_app.simulation.faults import Fault
from models_app.simulation.hardware import SimulatedHost
from models_app.simulation.ollama import OllamaSimulator
from models_app.simulation.server import Serving, serve
from tests.simulation import recordings
from tests.simulation.recordings import Recording, assert_answers_as_recorded, connect, replay

MODELS = [
    recordings.TINY_LLAMA,
    recordings.TINY_BERT,
    recordings.TINY_QWEN2,
    recordings.M100,
    recordings.M500,
]
LATER_INSTALLED = {
    "ollama_load_oom": recordings.HUGE_CONTEXT,
    "ollama_delete": replace(recordings.TINY_LLAMA, name="copy2"),
    "ollama_delete_loaded": replace(recordings.TINY_LLAMA, name="copyof"),
    "ollama_load_corrupt_blob": replace(recordings.BROKEN, name="tiny-qwen2"),
}
OFFLINE = {"ollama_pull_offline", "ollama_pull_offline_nostream", "ollama_pull_http_not_insecure"}
"""Their errors speak of the network of the machine that was recorded."""

Step = tuple[str, dict[str, Any]]


def generate(model: str = "tiny-llama", **given: Any) -> Step:
    return "/api/generate", {"model": model, **given}


EARLIER: dict[str, list[Step]] = {
    "ollama_ps_one": [generate()],
    "ollama_ps_10m": [generate(keep_alive="10m")],
    "ollama_ps_forever": [generate(keep_alive=-1)],
    "ollama_ps_env_forever": [generate(keep_alive=-1, options={"num_ctx": 256})],
    "ollama_ps_two": [generate(keep_alive=-1), ("/api/embed", {"model": "tiny-bert"})],
    "ollama_ps_ctx256": [generate(options={"num_ctx": 256}), generate("tiny-qwen2", options={"num_ctx": 66})],
    "ollama_ps_ctx_huge": [generate(options={"num_ctx": 99999999}), generate("tiny-qwen2", options={"num_ctx": 66})],
    "ollama_ps_after_runner_kill": [generate(), generate("tiny-qwen2", options={"num_ctx": 66})],
    "ollama_ps_unload_pending": [generate("m100"), generate("m100", keep_alive=0)],
    "ollama_load_chat_again": [generate()],
    "ollama_generate_after_runner_kill": [generate()],
    "ollama_unload": [generate()],
    "ollama_unload_chat": [("/api/embed", {"model": "tiny-bert"})],
    "ollama_delete_loaded": [generate("copyof")],
}
"""What was asked before, where the answer depends on it."""

RECORDINGS = [recording for recording in recordings.load("ollama_") if not recording.name.startswith("ollama_show")]


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    """The recorded server had no GPU."""
    server = OllamaSimulator(SimulatedHost("recorded", []), MODELS, registry=MODELS, version="0.0.0")
    async with serve(server) as serving:
        yield serving


async def ask(serving: Serving, steps: list[Step]) -> None:
    async with connect(serving.url) as client:
        for path, body in steps:
            answer = await client.post(path, json=body)
            assert answer.status_code == 200, answer.text


def prepare(server: OllamaSimulator, name: str) -> None:
    """What was installed or went wrong before the answer was recorded."""
    if name == "ollama_ps_unload_pending":
        server.faults.add(Fault.STUCK_STOPPING)
    if name in LATER_INSTALLED:
        model = LATER_INSTALLED[name]
        server.models[f"{model.name}:latest"] = replace(model, name=f"{model.name}:latest")


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
async def test_the_answer_is_as_recorded(serving: Serving, recording: Recording) -> None:
    server = serving.application
    assert isinstance(server, OllamaSimulator)
    prepare(server, recording.name)
    await ask(serving, EARLIER.get(recording.name, []))
    if "runner_kill" in recording.name:
        server.host.end(server.scheduler.runners[0].pid)
    answer = await replay(recording, serving.url)
    if recording.name in OFFLINE:
        recording = replace(recording, body=_with_error(recording.body, answer.text))
    assert_answers_as_recorded(answer, recording)


def _with_error(body: Any, answered: str) -> Any:
    """The recorded body with the simulated words of its error."""
    said = answered.rsplit('{"error":', 1)[1].rsplit("}", 1)[0]
    if isinstance(body, dict):
        return {"error": said.strip('"')}
    return body.rsplit('{"error":', 1)[0] + '{"error":' + said + "}\n"


@pytest.mark.parametrize("recording", recordings.load("ollama_show"), ids=lambda recording: recording.name)
async def test_show_tells_what_was_recorded(serving: Serving, recording: Recording) -> None:
    answer = await replay(recording, serving.url)
    assert_answers_as_recorded(answer, recording)
    if recording.status == 200:
        told = answer.json()
        assert told["model_info"].keys() <= recording.body["model_info"].keys()
        assert told["tensors"][0].keys() == recording.body["tensors"][0].keys()
        assert_same_numbers(told["model_info"], recording.body["model_info"])


def assert_same_numbers(told: dict[str, Any], recorded: dict[str, Any]) -> None:
    prefix = recorded["general.architecture"]
    for key in ("attention.head_count", "block_count", "context_length", "embedding_length", "feed_forward_length"):
        assert told[f"{prefix}.{key}"] == recorded[f"{prefix}.{key}"]


@pytest.mark.parametrize(
    "name", ["ollama_ps_one", "ollama_ps_two", "ollama_ps_ctx256", "ollama_ps_ctx_huge", "ollama_ps_env_forever"]
)
async def test_running_models_have_the_recorded_contexts(serving: Serving, name: str) -> None:
    recording = next(recording for recording in RECORDINGS if recording.name == name)
    await ask(serving, EARLIER[name])
    listed = (await replay(recording, serving.url)).json()["models"]
    assert {model["name"]: (model["context_length"], model["size_vram"]) for model in listed} == {
        model["name"]: (model["context_length"], model["size_vram"]) for model in recording.body["models"]
    }
