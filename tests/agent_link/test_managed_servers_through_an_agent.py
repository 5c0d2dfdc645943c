"""A managed server on a host that only its agent reaches: added, loaded, killed, adopted, restarted, removed."""

from __future__ import annotations

import os
import signal
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from asgiref.sync import sync_to_async

from models_app.accounts.roles import PANEL
from models_app.agent.supervision.records import folders
from models_app.backends.errors import LoadFailed, NotAllowed
from models_app.backends.protocol import LoadOptions
from models_app.inventory import managed
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.managed import add_managed, log_tail, remove_managed, update_managed
from models_app.inventory.models import Endpoint, ManagedServer
from models_app.inventory.server_hosts import server_host
from models_app.simulation.hardware import SimulatedHost
from tests.agent_link.conftest import backend_of, observed, waiting
from tests.factories import EndpointFactory
from tests.fixtures.agents import RunningAgent, StartAgent, until
from tests.fixtures.managed import Machine


@pytest.fixture
async def endpoint(managing: RunningAgent, managed_machine: Machine) -> Endpoint:
    return await waiting(add_managed)(PANEL, managing.host, "", managed_machine.spec())


async def load(endpoint: Endpoint) -> list[str]:
    lines: list[str] = []
    async with aclosing((await backend_of(endpoint)).load("tiny", LoadOptions())) as steps:
        async for progress in steps:
            lines += progress.lines
    return lines


async def test_files_and_headers_are_asked_of_the_agent(managing: RunningAgent, managed_machine: Machine) -> None:
    machine = await waiting(server_host)(managing.host)
    listing = await waiting(machine.list_files)("tiny")
    assert [Path(file.path).name for file in listing.files] == ["tiny.gguf"]
    assert (await waiting(machine.read_file)(listing.files[0].path)).size_bytes == 1000
    assert await waiting(machine.programs)() == ["fake"]
    with pytest.raises(NotAllowed):
        await waiting(machine.read_file)("/etc/passwd")


async def test_what_the_owner_does_not_allow_is_refused_before_there_is_a_row(
    managing: RunningAgent, managed_machine: Machine
) -> None:
    with pytest.raises(InventoryRefused, match="outside of the model folders"):
        await waiting(add_managed)(PANEL, managing.host, "", managed_machine.spec(model="/etc/hosts.gguf"))
    assert not await sync_to_async(Endpoint.objects.exists)()


async def test_a_name_that_another_got_meanwhile_leaves_the_host_as_it_was(
    endpoint: Endpoint, managing: RunningAgent, managed_machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(managed, "checked_name", lambda name, *_: name)
    await sync_to_async(EndpointFactory)(name="taken")
    endpoint = await sync_to_async(Endpoint.objects.select_related("host").get)(pk=endpoint.pk)
    with pytest.raises(InventoryRefused, match="has just got"):
        await waiting(add_managed)(PANEL, managing.host, "taken", managed_machine.spec())
    with pytest.raises(InventoryRefused, match="has just got"):
        await waiting(update_managed)(PANEL, endpoint, "taken", replace(managed_machine.spec(), context_length=1024))
    [kept] = folders(tmp_path / "managed")
    assert kept.read_spec() == managed_machine.spec()


async def test_it_is_loaded_and_unloaded_with_its_log_and_what_it_holds(endpoint: Endpoint) -> None:
    lines = await load(endpoint)
    backend = await backend_of(endpoint)
    [resident] = (await backend.observe()).resident
    assert "loading model" in lines
    assert resident.host_ram_bytes
    row = await observed(endpoint, state="running")
    assert row.process_id == resident.process_id
    assert "loading model" in await waiting(log_tail)(endpoint, 10)
    await backend.unload("tiny")
    assert (await backend.observe()).resident == ()
    await observed(endpoint, state="stopped")


async def test_a_load_that_fails_tells_the_last_lines(endpoint: Endpoint, managed_machine: Machine) -> None:
    managed_machine.allow("dies")
    with pytest.raises(LoadFailed, match="the tensor data is damaged"):
        await load(endpoint)


async def test_a_crash_is_told_and_the_agent_starts_it_again(endpoint: Endpoint) -> None:
    await load(endpoint)
    first = await observed(endpoint, state="running")
    os.kill(first.process_id or 0, signal.SIGKILL)
    again = await observed(endpoint, state="running", restarts=1)
    assert "signal 9" in again.problem


async def test_it_serves_on_while_its_agent_is_restarted(
    endpoint: Endpoint, managing: RunningAgent, start_agent: StartAgent, simulated_host: SimulatedHost, tmp_path: Path
) -> None:
    await load(endpoint)
    pid = (await observed(endpoint, state="running")).process_id
    await managing.stop()
    assert psutil.pid_exists(pid or 0)
    await sync_to_async(ManagedServer.objects.update)(process_id=None)
    await start_agent(simulated_host, secret_file=tmp_path / "gpu-1.json")
    assert (await observed(endpoint, state="running", process_id=pid)).restarts == 0
    assert (await sync_to_async(Endpoint.objects.get)()).state == "online"


async def test_new_settings_are_those_of_the_next_start(endpoint: Endpoint, managed_machine: Machine) -> None:
    endpoint = await sync_to_async(Endpoint.objects.select_related("host").get)(pk=endpoint.pk)
    spec = replace(managed_machine.spec(), context_length=1024)
    await waiting(update_managed)(PANEL, endpoint, "renamed", spec)
    await load(endpoint)
    row = await observed(endpoint, state="running")
    assert row.settings_digest == spec.digest
    assert "1024" in psutil.Process(row.process_id).cmdline()


async def test_its_removal_stops_it_and_forgets_it(endpoint: Endpoint, tmp_path: Path) -> None:
    await load(endpoint)
    pid = (await observed(endpoint, state="running")).process_id or 0
    await waiting(remove_managed)(PANEL, endpoint, guard=lambda _: "")
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert folders(tmp_path / "managed") == []


async def test_while_the_agent_is_away_nothing_is_changed(
    endpoint: Endpoint, managing: RunningAgent, managed_machine: Machine, monkeypatch: Any
) -> None:
    await managing.stop()
    await until(lambda: managing.host.agent.last_seen_at is not None, "the agent's row")
    endpoint = await sync_to_async(Endpoint.objects.select_related("host").get)(pk=endpoint.pk)
    monkeypatch.setattr("models_app.agent_link.waiting.AWAY_AFTER", timedelta(seconds=0.2))
    with pytest.raises(InventoryRefused):
        await waiting(update_managed)(PANEL, endpoint, "renamed", managed_machine.spec(threads=2))
    assert (await sync_to_async(ManagedServer.objects.get)()).spec["threads"] is None
