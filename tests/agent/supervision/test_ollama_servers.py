"""An Ollama that Berth starts: its start and end, its models while it runs, and what it says when it does not."""

from __future__ import annotations

import os
import signal
from contextlib import aclosing
from dataclasses import replace

import pytest

from models_app.agent.supervision import processes
from models_app.agent.supervision.ollama import OllamaSpec, launch_ollama
from models_app.agent.supervision.ollama_backend import OllamaServer
from models_app.backends.errors import InvalidOption, LoadFailed, Rejected, Unreachable
from models_app.backends.protocol import LoadOptions, ServerProcess, ServerState
from tests.fixtures.managed import KEY, Machine

SHOWN = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def backend_of(machine: Machine, spec: OllamaSpec | None = None) -> OllamaServer:
    """Another one, as another process of Berth would have."""
    return OllamaServer(machine.supervisor(), KEY, spec or machine.ollama_spec())


async def start(backend: OllamaServer) -> ServerProcess:
    async with aclosing(backend.start()) as steps:
        async for _ in steps:
            pass
    server = (await backend.observe()).server
    assert server is not None
    return server


async def test_its_models_load_and_unload_while_it_runs(machine: Machine) -> None:
    spec = machine.ollama_spec(gpus=("GPU-2", "GPU-1"), context_length=8192, kv_cache_type="q8_0", parallel=2)
    async with aclosing(backend_of(machine, spec)) as backend:
        assert (await start(backend)).state is ServerState.RUNNING
        info, [model, *_] = await backend.identify(), await backend.installed()
        assert "gpu" in info.load_options
        cache = {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}
        assert model.launch == {"ctx_size": 8192, "parallel": 2, "gpus": ["GPU-2", "GPU-1"]} | cache
        async with aclosing(backend.load(model.name, LoadOptions(gpu="GPU-1"))) as steps:
            async for _ in steps:
                pass
        assert (await backend.observe()).find(model.name)
        await backend.unload(model.name)
        await backend.stop()
        observation = await backend.observe()
        assert (observation.resident, observation.server) == ((), ServerProcess(ServerState.STOPPED))
        with pytest.raises(Unreachable, match="The Ollama server ollama-0 does not run"):
            await backend.installed()


async def test_one_that_dies_at_once_fails_the_start_with_its_last_words(machine: Machine) -> None:
    machine.allow("dies")
    async with aclosing(backend_of(machine)) as backend:
        with pytest.raises(LoadFailed, match="no GPU of that name"):
            await start(backend)
        server = (await backend.observe()).server
    assert server
    assert server.state is ServerState.STOPPED
    assert "The Ollama server ollama-0" in server.problem


async def test_a_port_that_is_taken_is_left_for_another(machine: Machine) -> None:
    machine.allow("taken:20011", ports=[20_011, 20_012])
    async with aclosing(backend_of(machine)) as backend:
        assert (await start(backend)).port == 20_012


async def test_it_is_adopted_by_the_next_process_and_started_again_after_a_crash(machine: Machine) -> None:
    async with aclosing(backend_of(machine)) as first:
        running = await start(first)
    async with aclosing(backend_of(machine)) as backend:
        assert (await backend.observe()).server == running
        identity = processes.identity_of(running.process_id or 0)
        os.kill(running.process_id or 0, signal.SIGKILL)
        while processes.is_running(identity):
            pass
        machine.supervisor().tick()
        machine.supervisor().tick()
        again = await start(backend)
    assert (again.state, again.restarts) == (ServerState.RUNNING, 1)
    assert "The Ollama server ollama-0 (pid" in again.problem


async def test_another_name_is_no_other_server_and_other_gpus_are(machine: Machine) -> None:
    spec = machine.ollama_spec()
    async with aclosing(backend_of(machine)) as backend:
        running = await start(backend)
    async with aclosing(backend_of(machine, replace(spec, name="renamed"))) as renamed:
        assert await start(renamed) == running
    async with aclosing(backend_of(machine, replace(spec, gpus=("GPU-2",)))) as moved:
        with pytest.raises(Rejected, match="runs with other settings"):
            await start(moved)
        assert (await moved.observe()).server == running


def test_without_a_gpu_it_is_shown_none(machine: Machine) -> None:
    command = launch_ollama(machine.ollama_spec(gpus=()), machine.supervisor().allowed(), 20_000, "mark")
    assert [command.environment[name] for name in SHOWN] == ["-1", "-1", "-1"]


def test_gpus_of_amd_are_shown_by_rocms_names_and_hidden_from_nobody_else(machine: Machine) -> None:
    spec = machine.ollama_spec(gpus=("AMD-a1b2c3d4e5f60718", "GPU-1", "AMD-0000000000000001"))
    command = launch_ollama(spec, machine.supervisor().allowed(), 20_000, "mark")
    assert [command.environment[name] for name in SHOWN] == ["GPU-1", "GPU-a1b2c3d4e5f60718,GPU-0000000000000001", "0,1"]


def test_a_card_that_rocm_does_not_list_is_refused(machine: Machine) -> None:
    with pytest.raises(InvalidOption, match="does not list AMD"):
        launch_ollama(machine.ollama_spec(gpus=("AMD-ffff:99:1f.7",)), machine.supervisor().allowed(), 20_000, "mark")
