"""An agent whose owner allows servers to be started, and what the panel asks of it; a panel that takes nothing in."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from models_app.agent.supervision.records import folders
from models_app.agent.supervision.supervisor import Supervisor
from models_app.agent_link import intake
from models_app.agent_link.ingest import take_in
from models_app.backends.protocol import Backend
from models_app.inventory.connect import backend_for
from models_app.inventory.models import Endpoint, ManagedServer
from models_app.simulation.hardware import SimulatedHost
from models_app.telemetry.history import recorder
from tests.fixtures.agents import RunningAgent, StartAgent, until
from tests.fixtures.managed import QUICK, Machine

PATIENCE = 10
FLUSH_SECONDS = 0.2
RHYTHM_SECONDS = 0.1


@pytest.fixture(autouse=True)
def soon_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is confirmed once it is written waits for the next flush of the history: five seconds in a real panel."""
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", FLUSH_SECONDS)
    monkeypatch.setattr(recorder.recorder, "_due", 0.0)


@pytest.fixture
def goes_on(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """After the first sample nothing is taken in before this is set."""
    event, taken = threading.Event(), []

    def held_up(*arguments: Any, **options: Any) -> int:
        assert not taken or event.wait(PATIENCE)
        taken.append(arguments)
        return take_in(*arguments, **options)

    for name in ("take_in", "take_in_of_many"):
        monkeypatch.setattr(intake, name, held_up)
    return event


@pytest.fixture
async def managing(
    start_agent: StartAgent,
    simulated_host: SimulatedHost,
    managed_machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    tmp_path: Path,
) -> AsyncIterator[RunningAgent]:
    """An agent whose owner allows the fake programs. It looks after its servers more often than a real one."""
    monkeypatch.setattr("models_app.agent.managed.DEFAULT_ALLOW_FILE", str(managed_machine.allow_file))
    for rhythm in ("managed.TEND_SECONDS", "watch.NEW_ENDPOINTS_SECONDS"):
        monkeypatch.setattr(f"models_app.agent.{rhythm}", RHYTHM_SECONDS)
    settings.OBSERVE_SECONDS = RHYTHM_SECONDS
    yield await start_agent(simulated_host)
    supervisor = Supervisor(managed_machine.allow_file, tmp_path / "managed", QUICK)
    for folder in folders(tmp_path / "managed"):
        supervisor.server(folder.key).stop()


def waiting(call: Callable[..., Any]) -> Callable[..., Any]:
    """A call that waits for the agent, in a thread of its own, as a page has one."""
    return sync_to_async(call, thread_sensitive=False)


async def backend_of(endpoint: Endpoint) -> Backend:
    row = await sync_to_async(Endpoint.objects.select_related("host").get)(pk=endpoint.pk)
    return await sync_to_async(backend_for)(row)


async def observed(endpoint: Endpoint, **columns: object) -> ManagedServer:
    """The row, once the agent has told this of the server, unasked."""
    found: ManagedServer = await until(ManagedServer.objects.filter(endpoint=endpoint, **columns).first, f"{columns}")
    return found
