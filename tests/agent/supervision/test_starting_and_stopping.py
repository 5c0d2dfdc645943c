"""Servers of the fake program, started as processes: what they get, how they end, and what is told of it."""

from __future__ import annotations

import os
import signal
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from models_app.agent.supervision import processes
from models_app.backends.errors import LoadFailed, NotFound, Rejected, UnsupportedOption
from models_app.backends.protocol import Capability, LoadOptions, ModelState, ServerState
from tests.agent.supervision.conftest import load
from tests.fixtures.managed import KEY, Machine


async def test_a_load_starts_the_server_and_tells_what_it_logs(machine: Machine) -> None:
    backend = machine.backend()
    lines = await load(backend)
    observation = await backend.observe()
    await backend.aclose()
    assert "loading model" in lines
    [resident] = observation.resident
    assert (resident.name, resident.state, resident.context_length) == ("tiny", ModelState.LOADED, 512)
    assert observation.server is not None
    assert observation.server.state is ServerState.RUNNING
    assert observation.server.settings_digest == machine.spec().digest
    assert resident.process_id == observation.server.process_id
    assert resident.host_ram_bytes is not None
    assert resident.host_ram_bytes >= psutil.Process(resident.process_id).memory_info().rss // 2


async def test_an_unload_ends_the_process_and_a_second_one_is_no_error(machine: Machine) -> None:
    backend = machine.backend()
    await load(backend)
    pid = (await backend.observe()).resident[0].process_id or 0
    await backend.unload("tiny")
    await backend.unload("tiny")
    observation = await backend.observe()
    await backend.aclose()
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert observation.resident == ()
    assert observation.server is not None
    assert observation.server.state is ServerState.STOPPED


async def test_the_key_is_no_part_of_the_command_line_and_secrets_are_not_passed_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTH_SECRET_KEY", "a secret of the panel")
    backend = machine.backend(
        machine.spec(gpus=("GPU-2", "GPU-1"), context_length=2048, parallel=2, cache_type_k="q8_0", kv_offload=False)
    )
    await load(backend)
    process = psutil.Process((await backend.observe()).resident[0].process_id)
    await backend.aclose()
    arguments, environment = process.cmdline(), process.environ()
    key = machine.supervisor().server(KEY).api_key()
    assert len(key) >= 32
    assert not any(key in word for word in (*arguments, *environment.values()))
    assert "a secret of the panel" not in environment.values()
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-2,GPU-1"
    assert environment["ROCR_VISIBLE_DEVICES"] == "-1"
    assert arguments[arguments.index("--ctx-size") + 1] == "4096"
    assert arguments[arguments.index("--cache-type-k") + 1] == "q8_0"
    assert "--no-kv-offload" in arguments
    assert (machine.state / KEY / "api-key").stat().st_mode & 0o077 == 0


async def test_no_gpu_is_shown_to_a_server_without_gpu_layers(machine: Machine) -> None:
    backend = machine.backend(machine.spec(gpu_layers=0))
    lines = await load(backend)
    await backend.aclose()
    assert "devices: -1" in lines


async def test_a_signal_to_the_group_of_berth_does_not_reach_the_server(machine: Machine) -> None:
    backend = machine.backend()
    await load(backend)
    pid = (await backend.observe()).resident[0].process_id or 0
    await backend.aclose()
    assert os.getsid(pid) == pid != os.getsid(0)


async def test_one_that_dies_at_once_fails_the_load_with_its_last_words(machine: Machine) -> None:
    machine.allow("dies")
    backend = machine.backend()
    with pytest.raises(LoadFailed, match=r"exit code 3\. Its last lines: .*the tensor data is damaged"):
        await load(backend)
    observation = await backend.observe()
    await backend.aclose()
    assert observation.resident == ()
    assert "damaged" in observation.failed["tiny"]


async def test_one_that_never_gets_healthy_is_stopped_and_the_load_fails(machine: Machine) -> None:
    machine.allow("never", start_seconds=0.5)
    backend = machine.backend()
    with pytest.raises(LoadFailed, match=r"did not become healthy within 0\.5 seconds.*loading model"):
        await load(backend)
    await backend.aclose()
    assert machine.supervisor().server(KEY).family() == frozenset()


async def test_a_load_that_is_broken_off_stops_the_server(machine: Machine) -> None:
    machine.allow("never")
    backend = machine.backend()
    async with aclosing(backend.load("tiny", LoadOptions())) as steps:
        await anext(steps)
        assert machine.supervisor().server(KEY).family() != frozenset()
    await backend.aclose()
    assert machine.supervisor().server(KEY).family() == frozenset()


async def test_a_port_that_is_taken_is_left_for_another(machine: Machine) -> None:
    machine.allow("taken:20001,20002", ports=[20_001, 20_003])
    backend = machine.backend()
    await load(backend)
    observation = await backend.observe()
    await backend.aclose()
    assert observation.resident[0].port == 20_003


async def test_where_every_port_is_taken_the_load_says_so(machine: Machine) -> None:
    machine.allow("taken:20004,20005", ports=[20_004, 20_005])
    backend = machine.backend()
    with pytest.raises(Exception, match="No port from 20004 to 20005 is free"):
        await load(backend)
    await backend.aclose()


@pytest.mark.parametrize("fault", ["stubborn", "forks"])
async def test_whatever_ignores_sigterm_or_left_the_session_is_ended_too(machine: Machine, fault: str) -> None:
    machine.allow(fault)
    backend = machine.backend()
    await load(backend)
    family = machine.supervisor().server(KEY).family()
    await backend.unload("tiny")
    await backend.aclose()
    assert len(family) == (2 if fault == "forks" else 1)
    assert not any(processes.is_running(member) for member in family)


async def test_a_child_that_outlives_its_parent_is_ended_before_the_next_start(machine: Machine) -> None:
    machine.allow("forks")
    backend = machine.backend()
    await load(backend)
    family = machine.supervisor().server(KEY).family()
    parent = (await backend.observe()).resident[0].process_id or 0
    os.kill(parent, signal.SIGKILL)
    await backend.unload("tiny")
    await backend.aclose()
    assert not any(processes.is_running(member) for member in family)


async def test_a_server_that_runs_is_found_by_another_process_and_is_not_started_twice(machine: Machine) -> None:
    first, second = machine.backend(), machine.backend()
    await load(first)
    pid = (await first.observe()).resident[0].process_id
    await load(second)
    assert (await second.observe()).resident[0].process_id == pid
    await first.aclose()
    await second.aclose()
    assert len(machine.supervisor().server(KEY).family()) == 1


async def test_one_that_runs_with_other_settings_is_not_taken_for_the_wanted_one(machine: Machine) -> None:
    first, second = machine.backend(), machine.backend(machine.spec(context_length=1024))
    await load(first)
    with pytest.raises(Rejected, match="runs with other settings"):
        await load(second)
    assert (await first.observe()).resident != ()
    await first.aclose()
    await second.aclose()


async def test_a_log_that_cannot_be_written_does_not_stop_a_server(machine: Machine) -> None:
    logs = machine.root / "logs"
    logs.mkdir()
    (logs / f"{KEY}.log").symlink_to("/dev/full")
    machine.allow(log_folder=str(logs))
    backend = machine.backend()
    await load(backend)
    observation = await backend.observe()
    await backend.aclose()
    assert observation.resident[0].state is ModelState.LOADED


async def test_a_state_that_cannot_be_written_fails_the_load_and_leaves_nothing_behind(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = machine.supervisor().server(KEY)
    written = []

    def full_disk(self: Path, target: Path) -> Path:
        written.append(target.name)
        if len(written) > 1:
            raise OSError(28, "No space left on device", str(target))
        return target

    backend = machine.backend()
    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(LoadFailed, match="No space left on device"):
        await load(backend)
    await backend.aclose()
    assert server.family() == frozenset()


async def test_it_offers_what_a_server_of_one_file_can_do(machine: Machine) -> None:
    backend = machine.backend(machine.spec(context_length=1024))
    info = await backend.identify()
    [model] = await backend.installed()
    await backend.aclose()
    assert info.capabilities >= {Capability.LOAD, Capability.UNLOAD, Capability.RESTART, Capability.HEADER}
    assert (info.mode, info.version, info.load_options) == ("managed", "b6060-fake", {"pinned"})
    assert (model.name, model.size_bytes, model.launch["ctx_size"]) == ("tiny", 1000, 1024)


async def test_other_names_and_options_are_refused_before_anything_starts(machine: Machine) -> None:
    backend = machine.backend()
    with pytest.raises(NotFound):
        await anext(backend.load("other", LoadOptions()))
    with pytest.raises(UnsupportedOption):
        await anext(backend.load("tiny", LoadOptions(context_length=5)))
    await backend.aclose()
    assert not (machine.state / KEY / "record.json").exists()
