"""One contract for every backend: over the simulated servers, a real llama-server and, where there is one, a real Ollama.

The real Ollama at ``OLLAMA_URL`` must hold the models named by ``OLLAMA_TEST_MODEL`` (default ``tiny-llama``) and
``OLLAMA_TEST_EMBEDDING_MODEL`` (default ``tiny-bert``).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import pytest

from models_app.backends.detect import backend_for, connect, identify
from models_app.backends.errors import (
    BackendError,
    InvalidName,
    InvalidOption,
    NotFound,
    Rejected,
    UnsupportedCall,
    UnsupportedOption,
)
from models_app.backends.protocol import (
    Backend,
    BackendKind,
    Capability,
    LoadOptions,
    ModelState,
    Observation,
    Progress,
    ResidentModel,
)
from models_app.simulation.runner import Timing

PATIENCE_SECONDS = 20.0
ABSENT = "no-such-model"


@dataclass(frozen=True)
class Endpoint:
    """A server to hold to the contract, with the models it has."""

    url: str
    kind: BackendKind
    mode: str
    model: str
    embedding_model: str = ""
    timing: Timing | None = None


CAN_LOAD = [
    "ollama_simulator",
    "router_simulator",
    pytest.param("router_server", marks=pytest.mark.real),
    pytest.param("ollama_server", marks=pytest.mark.ollama),
]
ONE_MODEL = ["single_simulator", pytest.param("single_server", marks=pytest.mark.real)]
EVERY = [*CAN_LOAD, *ONE_MODEL]


@pytest.fixture
def ollama_server() -> Endpoint:
    """A real Ollama."""
    model = os.environ.get("OLLAMA_TEST_MODEL", "tiny-llama")
    embedding_model = os.environ.get("OLLAMA_TEST_EMBEDDING_MODEL", "tiny-bert")
    url = os.environ["OLLAMA_URL"]
    return Endpoint(url, BackendKind.OLLAMA, "ollama", f"{model}:latest", f"{embedding_model}:latest")


@pytest.fixture
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    """The server whose fixture the parameter names."""
    server = request.getfixturevalue(request.param)
    match request.param:
        case "ollama_simulator":
            return Endpoint(
                server.url, BackendKind.OLLAMA, "ollama", "llama3.2:3b", "nomic-embed-text:latest", server.server.timing
            )
        case "router_simulator":
            names = ("llama-3.1-8b-instruct-q8_0", "bge-m3-f16")
            return Endpoint(server.url, BackendKind.LLAMA_SERVER, "router", *names, server.server.timing)
        case "router_server":
            return Endpoint(server.url, BackendKind.LLAMA_SERVER, "router", "tiny-llama", "tiny-bert")
        case "single_simulator":
            return Endpoint(server.url, BackendKind.LLAMA_SERVER, "single", "llama3.1")
        case "single_server":
            return Endpoint(server.url, BackendKind.LLAMA_SERVER, "single", "tiny-llama")
    assert isinstance(server, Endpoint)
    return server


@pytest.fixture
async def backend(endpoint: Endpoint) -> AsyncIterator[Backend]:
    """A backend for the endpoint; what it loaded is unloaded at the end."""
    backend = backend_for(endpoint.mode, endpoint.url)
    yield backend
    if endpoint.mode != "single":
        for name in filter(None, (endpoint.model, endpoint.embedding_model)):
            await backend.unload(name)
            await until_gone(backend, name)
    await backend.aclose()


def over(servers: list[object]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("endpoint", servers, indirect=True)


async def load(backend: Backend, name: str, options: LoadOptions | None = None) -> list[Progress]:
    async with aclosing(backend.load(name, options or LoadOptions())) as steps:
        return [progress async for progress in steps]


async def until_gone(backend: Backend, name: str) -> Observation:
    """Observes until the model is no longer in memory, which an unload does not wait for."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            observation = await backend.observe()
            if observation.find(name) is None:
                return observation
            await asyncio.sleep(0.02)


async def resident(backend: Backend, name: str) -> ResidentModel:
    found = (await backend.observe()).find(name)
    assert found is not None, f"{name} is not in memory"
    return found


@over(EVERY)
async def test_an_address_is_enough_to_find_out_what_listens(endpoint: Endpoint) -> None:
    info = await identify(endpoint.url)
    assert (info.kind, info.mode) == (endpoint.kind, endpoint.mode)
    assert info.version
    assert "pinned" in info.load_options


@over(EVERY)
async def test_insisting_on_the_wrong_program_is_explained(endpoint: Endpoint) -> None:
    wrong = next(kind for kind in BackendKind if kind is not endpoint.kind)
    with pytest.raises(BackendError, match="not as"):
        await connect(endpoint.url, kind=wrong)


@over(EVERY)
async def test_every_installed_model_has_a_canonical_name(endpoint: Endpoint, backend: Backend) -> None:
    models = await backend.installed()
    assert endpoint.model in {model.name for model in models}
    for model in models:
        assert backend.canonical(model.name) == model.name
        assert model.size_bytes >= 0


@over(EVERY)
async def test_observing_is_repeatable_and_loads_nothing(endpoint: Endpoint, backend: Backend) -> None:
    before = {model.name for model in (await backend.observe()).resident}
    for _ in range(3):
        assert {model.name for model in (await backend.observe()).resident} == before
    assert (endpoint.model in before) is (endpoint.mode == "single")


async def assert_rejects(backend: Backend, name: str) -> None:
    for call in (backend.shape(name), backend.unload(name), backend.set_keep_alive(name, 60, LoadOptions())):
        with pytest.raises(Rejected):
            await call
    with pytest.raises(Rejected):
        await load(backend, name)


@over(EVERY)
async def test_an_impossible_name_is_rejected_before_anything_is_sent(backend: Backend) -> None:
    for name in ("a\x00b", "x" * 300, "", " padded "):
        await assert_rejects(backend, name)


@over(CAN_LOAD)
async def test_a_path_is_rejected_as_a_name(backend: Backend) -> None:
    for name in ("../etc/passwd", "/etc/passwd", "C:\\model", "http://evil.example/x/y"):
        await assert_rejects(backend, name)


@over(EVERY)
async def test_a_call_outside_its_capabilities_is_rejected(endpoint: Endpoint, backend: Backend) -> None:
    capabilities = (await backend.identify()).capabilities
    calls = {
        Capability.LOAD: lambda: load(backend, endpoint.model),
        Capability.UNLOAD: lambda: backend.unload(endpoint.model),
        Capability.KEEP_ALIVE: lambda: backend.set_keep_alive(endpoint.model, 60, LoadOptions()),
        Capability.DELETE: lambda: backend.delete(endpoint.model),
        Capability.HEADER: lambda: backend.header(endpoint.model),
        Capability.GENERATE: lambda: backend.generate(endpoint.model, 4, LoadOptions()),
    }
    for capability in calls.keys() - capabilities:
        with pytest.raises(UnsupportedCall):
            await calls[capability]()


@over(EVERY)
async def test_a_header_is_told_whole_or_not_at_all_and_wakes_nothing(endpoint: Endpoint, backend: Backend) -> None:
    if Capability.HEADER not in (await backend.identify()).capabilities:
        return
    before = await backend.observe()
    answer = await backend.header(endpoint.model)
    assert answer.header is not None
    assert answer.shape.layer_count
    assert any(tensor.name == "token_embd.weight" for tensor in answer.header.tensors)
    assert (await backend.observe()).resident == before.resident
    with pytest.raises(NotFound):
        await backend.header(ABSENT)


@over(EVERY)
async def test_a_loaded_model_writes_and_says_how_fast(endpoint: Endpoint, backend: Backend) -> None:
    if Capability.LOAD in (await backend.identify()).capabilities:
        await load(backend, endpoint.model)
    before = await resident(backend, endpoint.model)
    wrote = await backend.generate(endpoint.model, 8, LoadOptions())
    assert 0 < wrote.token_count <= 8
    assert wrote.tokens_per_second == wrote.token_count / wrote.seconds > 0
    after = await resident(backend, endpoint.model)
    assert (after.process_id, after.context_length) == (before.process_id, before.context_length), "it was loaded anew"


@over(CAN_LOAD)
async def test_what_is_not_loaded_writes_nothing_and_stays_where_it_is(endpoint: Endpoint, backend: Backend) -> None:
    with pytest.raises(NotFound):
        await backend.generate(endpoint.model, 8, LoadOptions())
    assert (await backend.observe()).find(endpoint.model) is None


@over(CAN_LOAD)
async def test_an_embedding_model_writes_no_text(endpoint: Endpoint, backend: Backend) -> None:
    await load(backend, endpoint.embedding_model)
    with pytest.raises(Rejected):
        await backend.generate(endpoint.embedding_model, 8, LoadOptions())


@over(CAN_LOAD)
async def test_a_model_is_loaded_observed_and_unloaded(endpoint: Endpoint, backend: Backend) -> None:
    await load(backend, endpoint.model)
    model = await resident(backend, endpoint.model)
    assert model.state is ModelState.LOADED
    assert model.context_length
    await backend.unload(endpoint.model)
    observation = await until_gone(backend, endpoint.model)
    assert endpoint.model not in observation.failed


@over(CAN_LOAD)
async def test_an_embedding_model_loads_and_unloads_too(endpoint: Endpoint, backend: Backend) -> None:
    await load(backend, endpoint.embedding_model)
    assert (await resident(backend, endpoint.embedding_model)).state is ModelState.LOADED
    await backend.unload(endpoint.embedding_model)
    await until_gone(backend, endpoint.embedding_model)


@over(CAN_LOAD)
async def test_loading_what_is_loaded_succeeds(endpoint: Endpoint, backend: Backend) -> None:
    await load(backend, endpoint.model)
    await load(backend, endpoint.model)
    assert (await resident(backend, endpoint.model)).state is ModelState.LOADED


@over(CAN_LOAD)
async def test_two_loads_of_one_model_at_once_both_succeed(endpoint: Endpoint, backend: Backend) -> None:
    await asyncio.gather(load(backend, endpoint.model), load(backend, endpoint.model))
    assert (await resident(backend, endpoint.model)).state is ModelState.LOADED


@over(CAN_LOAD)
async def test_unloading_what_is_not_loaded_succeeds(endpoint: Endpoint, backend: Backend) -> None:
    await backend.unload(endpoint.model)
    assert (await backend.observe()).find(endpoint.model) is None


@over(CAN_LOAD)
async def test_an_unknown_model_is_not_found(backend: Backend) -> None:
    for call in (load(backend, ABSENT), backend.unload(ABSENT), backend.shape(ABSENT), backend.delete(ABSENT)):
        with pytest.raises(NotFound):
            await call


@over(CAN_LOAD)
async def test_an_abandoned_load_does_not_end_in_memory(endpoint: Endpoint, backend: Backend) -> None:
    if endpoint.timing:
        endpoint.timing.shortest_load_seconds = 5.0
    async with aclosing(backend.load(endpoint.model, LoadOptions())) as steps:
        was_quicker = await anext(steps, None) is None
    if was_quicker:
        await backend.unload(endpoint.model)
    observation = await until_gone(backend, endpoint.model)
    assert endpoint.model not in observation.failed


@over(CAN_LOAD)
async def test_a_cancelled_load_leaves_the_backend_usable(endpoint: Endpoint, backend: Backend) -> None:
    quick_seconds = 0.0
    if endpoint.timing:
        quick_seconds, endpoint.timing.shortest_load_seconds = endpoint.timing.shortest_load_seconds, 5.0
    task = asyncio.create_task(load(backend, endpoint.model))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_gone(backend, endpoint.model)
    if endpoint.timing:
        endpoint.timing.shortest_load_seconds = quick_seconds
    await load(backend, endpoint.model)
    assert (await resident(backend, endpoint.model)).state is ModelState.LOADED


@over(CAN_LOAD)
async def test_an_option_that_cannot_be_honoured_is_named(endpoint: Endpoint, backend: Backend) -> None:
    honoured = (await backend.identify()).load_options
    options = {
        "context_length": LoadOptions(context_length=256),
        "parallel": LoadOptions(parallel=2),
        "gpu_layers": LoadOptions(gpu_layers=1),
        "gpu": LoadOptions(gpu="GPU-00000000-0000-0000-0000-000000000000"),
        "batch": LoadOptions(batch=64),
        "cache_type_k": LoadOptions(cache_type_k="q8_0"),
        "cache_type_v": LoadOptions(cache_type_v="q8_0"),
        "flash_attention": LoadOptions(flash_attention=False),
        "kv_offload": LoadOptions(kv_offload=False),
        "keep_alive_seconds": LoadOptions(keep_alive_seconds=60),
    }
    for name in options.keys() - honoured:
        with pytest.raises(UnsupportedOption, match=name) as caught:
            await load(backend, endpoint.model, options[name])
        assert (caught.value.option, caught.value.code) == (name, "unsupported_option")
    assert (await backend.observe()).find(endpoint.model) is None


@over(CAN_LOAD)
@pytest.mark.parametrize("options", [LoadOptions(context_length=0), LoadOptions(gpu_layers=-2), LoadOptions(batch=2**40)])
async def test_a_senseless_value_is_rejected_by_name(endpoint: Endpoint, backend: Backend, options: LoadOptions) -> None:
    with pytest.raises((InvalidOption, UnsupportedOption)) as caught:
        await load(backend, endpoint.model, options)
    assert caught.value.option in options.given()


@over(CAN_LOAD)
async def test_a_pull_from_another_registry_is_refused(backend: Backend) -> None:
    with pytest.raises(InvalidName, match="registry"):
        await anext(backend.pull("evil.example/library/model"))


@over(CAN_LOAD)
async def test_polls_go_on_while_a_load_runs(endpoint: Endpoint, backend: Backend) -> None:
    loading = asyncio.create_task(load(backend, endpoint.model))
    polls = 0
    while not loading.done():
        await backend.observe()
        polls += 1
    await loading
    assert polls > 0


OLLAMAS = ["ollama_simulator", pytest.param("ollama_server", marks=pytest.mark.ollama)]


@over(OLLAMAS)
async def test_a_keep_alive_is_changed_without_a_reload(endpoint: Endpoint, backend: Backend) -> None:
    options = LoadOptions(context_length=256, keep_alive_seconds=600)
    await load(backend, endpoint.model, options)
    loaded = await resident(backend, endpoint.model)
    assert (loaded.context_length, loaded.kept_forever) == (256, False)
    assert loaded.expires_at is not None
    await backend.set_keep_alive(endpoint.model, -1, LoadOptions())
    kept = await resident(backend, endpoint.model)
    assert (kept.context_length, kept.kept_forever, kept.expires_at) == (256, True, None)


@over(OLLAMAS)
async def test_the_keep_alive_of_an_absent_model_does_not_load_it(endpoint: Endpoint, backend: Backend) -> None:
    with pytest.raises(NotFound):
        await backend.set_keep_alive(endpoint.model, 60, LoadOptions())
    assert (await backend.observe()).find(endpoint.model) is None


@over(OLLAMAS)
async def test_the_shape_of_a_model_has_its_layers_and_heads(endpoint: Endpoint, backend: Backend) -> None:
    shape = await backend.shape(endpoint.model)
    assert shape.architecture == "llama"
    assert shape.layer_count
    assert shape.kv_head_count
    assert shape.training_context_length
    assert (await backend.shape(endpoint.embedding_model)).is_embedding


ROUTERS = ["router_simulator", pytest.param("router_server", marks=pytest.mark.real)]


@over(ROUTERS)
async def test_a_router_reports_how_far_a_load_has_come(endpoint: Endpoint, backend: Backend) -> None:
    steps = await load(backend, endpoint.model)
    fractions = [step.fraction for step in steps if step.fraction is not None]
    assert fractions == sorted(fractions)
    assert all(step.status == "loading" for step in steps)
    assert (await resident(backend, endpoint.model)).port


@over(ROUTERS)
async def test_a_broken_file_fails_with_its_exit_code(endpoint: Endpoint, backend: Backend) -> None:
    broken = "broken" if endpoint.model == "tiny-llama" else "mixtral-truncated-q4_k_m"
    with pytest.raises(BackendError, match="exit code 1") as caught:
        await load(backend, broken)
    assert (caught.value.code, caught.value.retryable) == ("load_failed", False)
    assert "exit code 1" in (await backend.observe()).failed[broken]
