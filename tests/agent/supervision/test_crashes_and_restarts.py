"""What happens when a server ends unasked, and when Berth does."""

from __future__ import annotations

import os
import signal
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from models_app.agent.supervision import processes
from models_app.agent.supervision.crashes import Pace, after_crash, ending
from models_app.agent.supervision.records import Folder, Record
from models_app.backends.errors import Busy
from models_app.backends.protocol import ModelState, ServerState
from tests.agent.supervision.conftest import load
from tests.fixtures.managed import KEY, QUICK, Machine


async def killed(machine: Machine) -> int:
    """Load, and kill the server without telling Berth; the pid that it had."""
    backend = machine.backend()
    await load(backend)
    pid = (await backend.observe()).resident[0].process_id or 0
    await backend.aclose()
    kill(pid)
    return pid


def kill(pid: int) -> None:
    identity = processes.identity_of(pid)
    os.kill(pid, signal.SIGKILL)
    while processes.is_running(identity):
        pass


async def test_a_crashed_server_is_started_again_and_the_crash_is_told(machine: Machine) -> None:
    pid = await killed(machine)
    supervisor = machine.supervisor()
    supervisor.tick()
    waiting = supervisor.server(KEY).look()
    supervisor.tick()
    backend = machine.backend()
    lines_before = supervisor.server(KEY).log_tail(50)
    await load(backend)
    again = await backend.observe()
    await backend.aclose()
    assert waiting.state is ServerState.RESTARTING
    assert f"(pid {pid}) was ended by signal 9 (SIGKILL)" in waiting.problem
    assert lines_before.count("loading model") <= 1
    assert again.server is not None
    assert (again.server.state, again.server.restarts) == (ServerState.RUNNING, 1)
    assert again.server.process_id != pid
    assert "signal 9" in again.server.problem


async def test_while_it_waits_to_be_started_again_its_model_is_on_its_way_in(machine: Machine) -> None:
    await killed(machine)
    machine.supervisor(replace(QUICK, first_pause_seconds=60)).tick()
    backend = machine.backend()
    observation = await backend.observe()
    await backend.aclose()
    assert [model.state for model in observation.resident] == [ModelState.LOADING]
    assert "signal 9" in observation.failed["tiny"]


async def test_one_that_crashes_again_and_again_is_given_up_until_somebody_asks(machine: Machine) -> None:
    marker = machine.root / "healthy"
    marker.touch()
    machine.allow(f"once:{marker}")
    await killed(machine)
    marker.unlink()
    supervisor = machine.supervisor()
    while supervisor.server(KEY).look().state is not ServerState.GIVEN_UP:
        supervisor.tick()
    backend = machine.backend()
    given_up = await backend.observe()
    supervisor.tick()
    assert supervisor.server(KEY).family() == frozenset()
    marker.touch()
    await load(backend)
    asked = await backend.observe()
    await backend.aclose()
    assert given_up.resident == ()
    assert "ended with exit code 3" in given_up.failed["tiny"]
    assert "3 times" in given_up.failed["tiny"]
    assert asked.server is not None
    assert (asked.server.restarts, asked.server.problem) == (0, "")


async def test_one_that_was_stopped_is_not_started_again(machine: Machine) -> None:
    backend = machine.backend()
    await load(backend)
    await backend.unload("tiny")
    await backend.aclose()
    supervisor = machine.supervisor()
    supervisor.tick()
    supervisor.tick()
    assert supervisor.server(KEY).look().state is ServerState.STOPPED
    assert supervisor.server(KEY).family() == frozenset()


async def test_what_is_no_longer_allowed_is_not_started_again(machine: Machine) -> None:
    await killed(machine)
    (machine.models / "tiny.gguf").unlink()
    supervisor = machine.supervisor()
    while supervisor.server(KEY).look().state is not ServerState.GIVEN_UP:
        supervisor.tick()
    assert "tiny.gguf cannot be read" in supervisor.server(KEY).look().problem


async def test_a_restarted_server_that_never_gets_healthy_counts_as_crashed(machine: Machine) -> None:
    await killed(machine)
    machine.allow("never", start_seconds=0.001)
    supervisor = machine.supervisor()
    while supervisor.server(KEY).look().state is not ServerState.GIVEN_UP:
        supervisor.tick()
    assert "did not become healthy" in supervisor.server(KEY).look().problem
    assert supervisor.server(KEY).family() == frozenset()


async def test_a_server_serves_on_while_berth_is_away_and_is_adopted(machine: Machine) -> None:
    backend = machine.backend()
    await load(backend)
    before = await backend.observe()
    await backend.aclose()
    back = machine.backend()
    machine.supervisor().tick()
    after = await back.observe()
    assert after.resident[0].state is ModelState.LOADED
    assert after.server == before.server
    await back.unload("tiny")
    assert (await back.observe()).resident == ()
    await back.aclose()


@pytest.mark.parametrize(
    ("last_words", "was_oom", "told"),
    [
        ("terminate called", False, ["Its log ends with “terminate called”.", "journalctl -k"]),
        ("", False, ["so the system told Berth no exit code. Its log says nothing.", "journalctl -k"]),
        ("loading", True, ["by the kernel for lack of memory", "journalctl -k", "“loading”"]),
    ],
)
def test_of_a_server_that_an_earlier_run_had_started_what_can_be_known_is_told(
    machine: Machine, last_words: str, was_oom: bool, told: list[str]
) -> None:
    adopted = Record(machine.spec(), identity=processes.identity_of(os.getpid()))
    sentence = ending(Folder(machine.state, KEY), adopted, last_words, was_oom=was_oom)
    assert sentence.startswith(f"The llama-server of tiny (pid {os.getpid()}) has ended")
    assert all(words in sentence for words in told)


@pytest.mark.parametrize(("kills", "is_blamed"), [([7, 7, 7], False), ([7, 7, 8], True)])
async def test_the_kernels_count_of_what_it_ended_for_lack_of_memory_is_compared(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, kills: list[int], is_blamed: bool
) -> None:
    counts = iter(kills)
    for module in ("supervisor", "server"):
        monkeypatch.setattr(f"models_app.agent.supervision.{module}.oom_kills", lambda: next(counts))
    monkeypatch.setattr("models_app.agent.supervision.crashes._status", lambda *_: None)
    async with aclosing(machine.backend()) as backend:
        await load(backend)
        supervisor = machine.supervisor()
        supervisor.tick()
        kill((await backend.observe()).resident[0].process_id or 0)
    supervisor.tick()
    problem = supervisor.server(KEY).look().problem
    assert ("as it seems by the kernel" in problem) is is_blamed
    assert "Its log ends with “" in problem


async def test_a_pid_that_another_process_has_now_is_not_taken_for_the_server(machine: Machine) -> None:
    pid = await killed(machine)
    folder = Folder(machine.state, KEY)
    record = folder.read()
    assert record is not None
    assert record.identity is not None
    folder.write(replace(record, identity=replace(record.identity, pid=os.getpid())))
    supervisor = machine.supervisor()
    supervisor.server(KEY).stop()
    assert psutil.pid_exists(os.getpid()), f"the server was {pid}"


async def test_a_server_that_nobody_wrote_down_is_ended_before_another_is_started(machine: Machine) -> None:
    backend = machine.backend()
    await load(backend)
    stray = machine.supervisor().server(KEY).family()
    folder = Folder(machine.state, KEY)
    record = folder.read()
    assert record is not None
    folder.write(replace(record, identity=None, ready_at=None))
    await load(backend)
    await backend.aclose()
    assert not any(processes.is_running(member) for member in stray)
    assert len(machine.supervisor().server(KEY).family()) == 1


def test_a_record_that_is_damaged_counts_as_none(machine: Machine) -> None:
    folder = Folder(machine.state, KEY)
    folder.make()
    with folder.lock():
        folder.write(Record(machine.spec()))
    (folder.path / "record.json").write_text('{"spec": 3')
    assert folder.read() is None
    assert machine.supervisor().server(KEY).look().state is ServerState.STOPPED


def test_two_processes_cannot_hold_one_server(machine: Machine) -> None:
    Folder(machine.state, KEY).make()
    with Folder(machine.state, KEY).lock(), pytest.raises(Busy), Folder(machine.state, KEY).lock(0):
        pass


def test_what_is_forgotten_stays_forgotten_whoever_still_tends_it_or_tells_how_it_ended(machine: Machine) -> None:
    server, folder = machine.supervisor().server(KEY), Folder(machine.state, KEY)
    folder.make()
    with folder.lock():
        folder.write(Record(machine.spec(), wanted=True))
    server.forget()
    folder.write_exit(1, -9)
    server.note_ready()
    with pytest.raises(FileNotFoundError):
        server.tend()
    assert list(machine.state.iterdir()) == []


def test_pauses_grow_and_old_crashes_are_forgotten(machine: Machine) -> None:
    pace = Pace(first_pause_seconds=1, longest_pause_seconds=3, crash_window_seconds=100, most_crashes=3)
    record = Record(machine.spec(), wanted=True, was_ready=True)
    pauses = []
    for now in (1000.0, 1001.0, 1002.0):
        record = after_crash(record, "It ended.", pace, now)
        pauses.append((record.restart_at or 0) - now)
    assert pauses == [1, 2, 3]
    assert after_crash(record, "It ended.", pace, 1003.0).given_up
    assert not after_crash(record, "It ended.", pace, 1101.5).given_up


def test_a_full_log_is_cut_and_one_older_is_kept(machine: Machine) -> None:
    server = machine.supervisor().server(KEY)
    Folder(machine.state, KEY).make()
    log = machine.state / KEY / f"{KEY}.log"
    log.write_bytes(b"line\n" * 100)
    machine.supervisor(replace(QUICK, log_bytes=100)).tick()
    assert log.read_bytes() == b""
    assert Path(f"{log}.1").read_bytes() == b"line\n" * 100
    assert server.log_tail(5) == []
