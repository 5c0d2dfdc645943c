"""Ollama's own words: answers recorded from Ollama 0.33, and what is sent to it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import time_machine

from models_app.backends.detect import backend_for, identify
from models_app.backends.errors import (
    BackendError,
    BadAnswer,
    Busy,
    LoadFailed,
    NotFound,
    OutOfMemory,
    ServerFault,
    TimedOut,
    Unauthorized,
    UnsupportedOption,
)
from models_app.backends.http import Limits
from models_app.backends.protocol import Backend, LoadOptions, ModelState, Progress
from tests.backends.conftest import Listen, Replay, http_answer, recorded

URL = "http://127.0.0.1:11434"
GPU = "GPU-5f0c9d1e-0000-0000-0000-000000000001"


def ollama(answers: dict[str, Any], **settings: Any) -> tuple[Backend, Replay]:
    replay = Replay(answers)
    return backend_for("ollama", URL, transport=replay, **settings), replay


async def steps_of_pull(backend: Backend, name: str) -> list[Progress]:
    return [progress async for progress in backend.pull(name)]


async def load(backend: Backend, options: LoadOptions | None = None) -> None:
    async with aclosing(backend.load("tiny-llama", options or LoadOptions())) as steps:
        async for _ in steps:
            pass


async def test_the_models_in_memory_are_read_with_their_expiry() -> None:
    backend, _ = ollama({"GET /api/ps": "ollama_ps_two"})
    kept, expiring = (await backend.observe()).resident
    assert (kept.name, kept.kept_forever, kept.expires_at) == ("tiny-llama:latest", True, None)
    assert (kept.size_bytes, kept.vram_bytes, kept.context_length) == (3544186, 0, 512)
    assert (expiring.name, expiring.kept_forever, expiring.state) == ("tiny-bert:latest", False, ModelState.LOADED)


async def test_an_expiry_is_told_by_our_clock_though_the_servers_is_wrong() -> None:
    """The recorded answer's Date is the server's clock; the model expires five minutes after it."""
    backend, _ = ollama({"GET /api/ps": "ollama_ps_one"})
    [model] = (await backend.observe()).resident
    assert model.expires_at is not None
    left = model.expires_at - datetime.now(UTC)
    assert timedelta(minutes=4, seconds=50) < left < timedelta(minutes=5, seconds=10)


@time_machine.travel(datetime(2026, 11, 21, 8, 27, 20, 700_000, tzinfo=UTC), tick=False)
async def test_an_expiry_in_the_past_is_a_model_that_is_stopping() -> None:
    backend, _ = ollama({"GET /api/ps": "ollama_ps_unload_pending"})
    [model] = (await backend.observe()).resident
    assert (model.name, model.state) == ("m100:latest", ModelState.STOPPING)


async def test_the_installed_models_are_read() -> None:
    backend, _ = ollama({"GET /api/tags": "ollama_tags"})
    models = {model.name: model for model in await backend.installed()}
    m500 = models["m500:latest"]
    assert (m500.size_bytes, m500.family, m500.quantization) == (505990136, "llama", "F16")
    assert m500.parameter_count == 252_950_000
    assert m500.modified_at == datetime(2026, 11, 21, 8, 25, 20, 460481, tzinfo=UTC)
    assert models["tiny-bert:latest"].is_embedding, "although the server lists it as able to complete text"
    assert not m500.is_embedding


async def test_the_shape_of_a_model_is_read() -> None:
    backend, _ = ollama({"POST /api/show": ["ollama_show", "ollama_show_bert"]})
    llama, bert = await backend.shape("tiny-llama"), await backend.shape("tiny-bert")
    assert (llama.architecture, llama.layer_count, llama.head_count, llama.kv_head_count) == ("llama", 4, 4, 2)
    assert (llama.embedding_length, llama.training_context_length, llama.parameter_count) == (64, 512, 324928)
    assert (bert.architecture, bert.kv_head_count, bert.is_embedding) == ("bert", None, True)


@pytest.mark.parametrize("heads", [[], None, [8, 8, 4], "8", -1, 2**70, True])
async def test_a_head_count_that_is_no_number_is_unknown(heads: object) -> None:
    info = {"general.architecture": "gemma3", "gemma3.attention.head_count_kv": heads, "gemma3.block_count": 62}
    backend, _ = ollama({"POST /api/show": {"model_info": info}})
    shape = await backend.shape("gemma3")
    assert (shape.kv_head_count, shape.layer_count) == (None, 62)


async def test_a_load_sends_every_option_as_a_number_under_ollamas_name() -> None:
    backend, replay = ollama({"POST /api/generate": "ollama_load_generate"}, gpu_index={GPU: 1})
    options = LoadOptions(context_length=4096, gpu_layers=20, batch=256, gpu=GPU, keep_alive_seconds=-1, pinned=True)
    await load(backend, options)
    body = {
        "model": "tiny-llama:latest",
        "stream": False,
        "keep_alive": -1,
        "options": {"num_ctx": 4096, "num_gpu": 20, "num_batch": 256, "main_gpu": 1},
    }
    assert replay.requests == [("POST /api/generate", body)]


async def test_a_load_without_options_leaves_the_choice_to_the_server() -> None:
    backend, replay = ollama({"POST /api/generate": "ollama_load_generate"})
    await load(backend)
    assert replay.requests[0][1] == {"model": "tiny-llama:latest", "stream": False, "options": {}}


async def test_a_gpu_that_this_server_does_not_see_is_refused() -> None:
    backend, replay = ollama({}, gpu_index={GPU: 0})
    with pytest.raises(UnsupportedOption) as caught:
        await load(backend, LoadOptions(gpu="GPU-another"))
    assert caught.value.option == "gpu"
    assert replay.requests == []


async def test_an_embedding_model_that_refuses_to_generate_is_loaded_by_embedding_nothing() -> None:
    backend, replay = ollama(
        {"POST /api/generate": "ollama_load_bert_via_generate", "POST /api/embed": "ollama_embed_load_empty"}
    )
    await load(backend, LoadOptions(keep_alive_seconds=60))
    call, body = replay.requests[-1]
    assert call == "POST /api/embed"
    assert (body["input"], body["keep_alive"]) == ([], 60)


@pytest.mark.parametrize(
    ("answer", "expected", "retryable"),
    [
        ("ollama_load_oom", OutOfMemory, False),
        ("ollama_queue_full_503", Busy, True),
        ("ollama_load_corrupt_blob", LoadFailed, False),
        ("ollama_load_broken", NotFound, False),
        ("ollama_load_bad_option", ServerFault, True),
        ("ollama_badhost_403", Unauthorized, False),
    ],
)
async def test_a_failed_load_is_told_apart(answer: str, expected: type[BackendError], retryable: bool) -> None:
    backend, _ = ollama({"POST /api/generate": answer})
    with pytest.raises(BackendError) as caught:
        await load(backend)
    assert type(caught.value) is expected
    assert caught.value.retryable is retryable


async def test_closing_a_load_closes_its_connection(listen: Listen) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def never_loads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read(-1)
        gone.set()

    backend = backend_for("ollama", await listen(never_loads))
    async with aclosing(backend.load("tiny-llama", LoadOptions())) as steps:
        assert (await anext(steps)).status == "loading"
        await asyncio.wait_for(asked.wait(), 5)
    await asyncio.wait_for(gone.wait(), 5)
    await backend.aclose()


async def test_a_load_that_never_ends_times_out_while_polls_go_on(listen: Listen) -> None:
    """A deadlocked scheduler: the lists stay green and every load hangs."""

    async def deadlocked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/api/generate" in await reader.readuntil(b"\r\n\r\n"):
            await reader.read(-1)
        writer.write(http_answer("200 OK", b'{"models": []}'))
        await writer.drain()

    backend = backend_for("ollama", await listen(deadlocked), limits=Limits(load_seconds=0.2))
    loading = asyncio.create_task(load(backend))
    assert (await backend.observe()).resident == ()
    with pytest.raises(TimedOut):
        await loading
    await backend.aclose()


async def test_a_new_keep_alive_repeats_the_context_that_is_loaded() -> None:
    backend, replay = ollama({"GET /api/ps": "ollama_ps_ctx256", "POST /api/generate": "ollama_load_keepalive_num"})
    await backend.set_keep_alive("tiny-llama", 90, LoadOptions())
    assert replay.requests[-1][1]["options"] == {"num_ctx": 256}
    assert replay.requests[-1][1]["keep_alive"] == 90


async def test_an_unload_is_a_keep_alive_of_zero() -> None:
    backend, replay = ollama({"POST /api/generate": "ollama_unload"})
    await backend.unload("tiny-llama")
    assert replay.requests == [("POST /api/generate", {"model": "tiny-llama:latest", "keep_alive": 0, "stream": False})]


async def test_a_pull_reports_bytes_until_it_has_succeeded() -> None:
    backend, _ = ollama({"POST /api/pull": "ollama_pull_ok"})
    steps = await steps_of_pull(backend, "m100")
    assert (steps[0].status, steps[-1].status) == ("pulling manifest", "success")
    bytes_so_far = [step.completed_bytes for step in steps if step.total_bytes == 103570560]
    assert [done for done in bytes_so_far if done] == sorted(done for done in bytes_so_far if done)
    assert len(set(bytes_so_far)) > 10
    assert all(0 <= step.fraction <= 1 for step in steps if step.fraction is not None)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("ollama_pull_offline", ServerFault),
        ("ollama_pull_missing_on_registry", NotFound),
        (httpx.Response(200, content=b'{"status":"pulling manifest"}\n'), BadAnswer),
        (httpx.Response(200, content=b"not json\n"), BadAnswer),
        (httpx.Response(200, content=b"[]\n"), BadAnswer),
    ],
)
async def test_a_failed_pull_says_so_although_the_status_was_200(answer: Any, expected: type[BackendError]) -> None:
    backend, _ = ollama({"POST /api/pull": answer})
    with pytest.raises(BackendError) as caught:
        await steps_of_pull(backend, "m100")
    assert type(caught.value) is expected


async def test_a_delete_names_the_model_in_its_body() -> None:
    backend, replay = ollama({"DELETE /api/delete": ["ollama_delete", "ollama_delete_missing"]})
    await backend.delete("copy2")
    assert replay.requests == [("DELETE /api/delete", {"model": "copy2:latest"})]
    with pytest.raises(NotFound):
        await backend.delete("nope")


@pytest.mark.parametrize(
    ("version", "warning"),
    [
        ("0.17.0", "CVE-2026-7482: Ollama 0.17.0 is vulnerable"),
        ("0.9.6", "vulnerable"),
        ("0.17.1", ""),
        ("0.33.0-rc2", ""),
        ("1.0.0", ""),
        ("0.0.0", "unknown"),
        ("main", "unknown"),
    ],
)
async def test_a_vulnerable_version_is_warned_of(version: str, warning: str) -> None:
    info = await identify(URL, transport=Replay({"GET /api/version": {"version": version}}))
    assert (warning in " ".join(info.warnings)) if warning else info.warnings == ()


async def test_an_unknown_host_name_is_explained() -> None:
    with pytest.raises(Unauthorized) as caught:
        await identify(URL, transport=Replay({"GET /api/version": recorded("ollama_badhost_403")}))
    assert "host names" in caught.value.hint
