"""An Ollama on GPUs of a host that only its agent reaches: added, started, adopted, changed, stopped, removed."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from models_app.accounts.roles import PANEL
from models_app.agent.managed import OllamaChoices
from models_app.agent.supervision.ollama import OllamaSpec
from models_app.agent.supervision.records import folders
from models_app.backends.protocol import LoadOptions
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.managed import add_managed, log_tail, remove_managed, update_managed
from models_app.inventory.models import Endpoint, Gpu, ManagedServer
from models_app.inventory.ollama_servers import restart_ollama, start_ollama, stop_ollama
from models_app.inventory.server_hosts import server_host
from models_app.simulation.hardware import SimulatedHost
from tests.agent_link.conftest import backend_of, observed, waiting
from tests.fixtures.agents import RunningAgent, StartAgent, until
from tests.fixtures.managed import Machine


@pytest.fixture
async def spec(managing: RunningAgent, managed_machine: Machine) -> OllamaSpec:
    gpu = await until(Gpu.objects.filter(host=managing.host).first, "a GPU of the host")
    return managed_machine.ollama_spec(gpus=(gpu.uuid,), most_loaded=1)


@pytest.fixture
async def endpoint(managing: RunningAgent, spec: OllamaSpec) -> Endpoint:
    return await waiting(add_managed)(PANEL, managing.host, "ollama-0", spec)


def free(_: Endpoint) -> str:
    """Nothing speaks against anything."""
    return ""


async def start(endpoint: Endpoint) -> ManagedServer:
    await waiting(start_ollama)(PANEL, endpoint)
    return await observed(endpoint, state="running")


async def test_it_is_an_endpoint_whose_models_load_while_it_runs(endpoint: Endpoint) -> None:
    await start(endpoint)
    row = await sync_to_async(Endpoint.objects.get)()
    assert (row.kind, row.mode, row.state, row.version != "") == ("ollama", "ollama", "online", True)
    backend = await backend_of(endpoint)
    [model, *_] = await backend.installed()
    async with aclosing(backend.load(model.name, LoadOptions())) as steps:
        async for _ in steps:
            pass
    await until(row.loaded_models.filter(name=model.name).first, "the model's row")
    assert "OLLAMA_MAX_LOADED_MODELS" in (await waiting(log_tail)(endpoint, 1000))[0]
    await waiting(stop_ollama)(PANEL, endpoint, guard=free)
    await observed(endpoint, state="stopped")
    row = await sync_to_async(Endpoint.objects.get)()
    assert (row.state, row.state_code) == ("unreachable", "server_stopped")
    assert not await sync_to_async(row.loaded_models.exists)()


async def test_it_serves_on_while_its_agent_is_restarted(
    endpoint: Endpoint, managing: RunningAgent, start_agent: StartAgent, simulated_host: SimulatedHost, tmp_path: Path
) -> None:
    pid = (await start(endpoint)).process_id
    await managing.stop()
    await sync_to_async(ManagedServer.objects.update)(process_id=None)
    again = await start_agent(simulated_host, secret_file=tmp_path / "gpu-1.json")
    assert (await observed(endpoint, state="running", process_id=pid)).restarts == 0
    [served] = again.agent.endpoints.served()
    assert served.name == endpoint.url.rpartition("/")[2]


async def test_new_settings_are_those_of_its_restart_and_its_removal_forgets_it(
    endpoint: Endpoint, spec: OllamaSpec, tmp_path: Path
) -> None:
    first = await start(endpoint)
    changed = replace(spec, parallel=4)
    endpoint = await waiting(update_managed)(PANEL, endpoint, "renamed", changed)
    assert (await observed(endpoint, state="running")).settings_digest == spec.digest
    await waiting(restart_ollama)(PANEL, endpoint, guard=free)
    assert (await observed(endpoint, settings_digest=changed.digest)).process_id != first.process_id
    await waiting(remove_managed)(PANEL, endpoint, guard=free)
    assert folders(tmp_path / "managed") == []


async def test_only_what_the_owner_allows_is_offered_and_taken(
    managing: RunningAgent, managed_machine: Machine, spec: OllamaSpec
) -> None:
    choices = await waiting(lambda: server_host(managing.host).ollama_choices())()
    assert choices == OllamaChoices(("fake",), (str(managed_machine.models),))
    for wrong in ({"models": "/etc"}, {"binary": "other"}, {"gpus": ("GPU-of-nobody",)}, {"gpus": ()}):
        with pytest.raises(InventoryRefused):
            await waiting(add_managed)(PANEL, managing.host, "wrong", replace(spec, **wrong))  # type: ignore[arg-type]
    assert not await sync_to_async(Endpoint.objects.exists)()


async def test_a_start_that_fails_says_why_and_the_page_knows(endpoint: Endpoint, managed_machine: Machine) -> None:
    managed_machine.allow("dies")
    with pytest.raises(InventoryRefused, match="no GPU of that name"):
        await waiting(start_ollama)(PANEL, endpoint)
    assert "no GPU of that name" in (await observed(endpoint, state="stopped")).problem


async def test_while_the_agent_is_away_it_is_not_stopped(
    endpoint: Endpoint, managing: RunningAgent, monkeypatch: Any
) -> None:
    await managing.stop()
    monkeypatch.setattr("models_app.agent_link.waiting.AWAY_AFTER", timedelta(seconds=0.2))
    with pytest.raises(InventoryRefused, match="was not stopped"):
        await waiting(stop_ollama)(PANEL, endpoint, guard=free)
