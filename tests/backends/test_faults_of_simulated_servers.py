"""Every fault that the simulated servers know ends in one error of the family, and the backend works again afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from models_app.backends.detect import backend_for
from models_app.backends.errors import (
    BackendError,
    BadAnswer,
    LoadFailed,
    OutOfMemory,
    ServerFault,
    TimedOut,
    Unauthorized,
    Unreachable,
)
from models_app.backends.http import Limits
from models_app.backends.protocol import Backend, LoadOptions
from models_app.simulation.faults import Fault

SHORT = Limits(poll_seconds=0.3, load_seconds=0.5)
MODELS = {"ollama": "llama3.2:3b", "router": "llama-3.1-8b-instruct-q8_0"}


@pytest.fixture(params=["ollama", "router", "single"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def simulated(mode: str, request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{mode}_simulator")


@pytest.fixture
async def backend(mode: str, simulated: Any, request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    """Patient, but where a test waits for the end of its patience."""
    waits_for_limit = "expected" in request.fixturenames and request.getfixturevalue("expected") is TimedOut
    backend = backend_for(mode, simulated.url, limits=SHORT if waits_for_limit else Limits())
    yield backend
    await backend.aclose()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.CLOSE, Unreachable),
        (Fault.HANG, TimedOut),
        (Fault.GARBAGE, BadAnswer),
        (Fault.HUGE_BODY, BadAnswer),
        (Fault.REDIRECT, BadAnswer),
        (Fault.UNAUTHORIZED, Unauthorized),
        (Fault.SERVER_ERROR, ServerFault),
    ],
)
async def test_a_server_that_misbehaves_is_told_apart(
    simulated: Any, backend: Backend, mode: str, fault: Fault, expected: type[BackendError]
) -> None:
    simulated.server.faults.add(fault)
    for call in (backend.identify, backend.observe, backend.installed):
        with pytest.raises(BackendError) as caught:
            await call()
        assert type(caught.value) is expected
    simulated.server.faults.clear()
    async with aclosing(backend_for(mode, simulated.url)) as patient:
        assert (await patient.identify()).version


async def load(backend: Backend, name: str) -> None:
    async with aclosing(backend.load(name, LoadOptions())) as steps:
        async for _ in steps:
            pass


async def test_a_server_that_is_stopped_and_started_is_found_again(simulated: Any, backend: Backend) -> None:
    await backend.observe()
    await simulated.serving.close()
    with pytest.raises(Unreachable):
        await backend.observe()
    await simulated.serving.open()
    await asyncio.wait_for(backend.observe(), 5)


@pytest.mark.parametrize(
    ("mode", "fault", "expected"),
    [
        ("ollama", Fault.OUT_OF_MEMORY, OutOfMemory),
        ("ollama", Fault.DIE_WHILE_LOADING, ServerFault),
        ("ollama", Fault.STALL_LOAD, TimedOut),
        ("router", Fault.OUT_OF_MEMORY, LoadFailed),
        ("router", Fault.DIE_WHILE_LOADING, LoadFailed),
        ("router", Fault.STALL_LOAD, TimedOut),
    ],
    indirect=["mode"],
)
async def test_a_load_that_fails_says_why_and_can_be_tried_again(
    simulated: Any, backend: Backend, mode: str, fault: Fault, expected: type[BackendError]
) -> None:
    simulated.server.faults.add(fault)
    with pytest.raises(BackendError) as caught:
        await load(backend, MODELS[mode])
    assert type(caught.value) is expected
    simulated.server.faults.clear()
    async with aclosing(backend_for(mode, simulated.url)) as patient:
        await load(patient, MODELS[mode])
        assert (await patient.observe()).find(MODELS[mode])


@pytest.mark.parametrize("mode", ["ollama", "router"], indirect=True)
async def test_a_stalled_load_is_aborted_when_its_generator_is_closed(simulated: Any, mode: str) -> None:
    simulated.server.faults.add(Fault.STALL_LOAD)
    backend = backend_for(mode, simulated.url)
    async with aclosing(backend.load(MODELS[mode], LoadOptions())) as steps:
        assert (await anext(steps)).status == "loading"
    async with asyncio.timeout(10):
        while (await backend.observe()).find(MODELS[mode]):  # noqa: ASYNC110 - the server sends no event
            await asyncio.sleep(0.02)
    await backend.aclose()
