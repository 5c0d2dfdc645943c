"""The background writes down what was sampled, also when it is asked to stop."""

from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import sync_to_async

from models_app.operations.reconciler import Reconciler
from models_app.runtime import background
from models_app.simulation.devices import GIB
from models_app.simulation.hardware import SimulatedGpu, SimulatedHost
from models_app.telemetry import collector
from models_app.telemetry.collector import record_sample
from models_app.telemetry.history.recorder import Recorder
from models_app.telemetry.models import SecondsChunk
from tests.factories import HostFactory


@pytest.mark.django_db(transaction=True)
async def test_what_was_sampled_last_is_written_at_a_clean_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    for module in (background, collector):
        monkeypatch.setattr(module, "recorder", recorder)
    machine = SimulatedHost("atlas", [SimulatedGpu("NVIDIA L40S", 48 * GIB)])
    host = await sync_to_async(HostFactory)(name="atlas")
    await sync_to_async(record_sample)(host, machine.sample())
    assert not await SecondsChunk.objects.aexists()
    stop = asyncio.Event()
    stop.set()
    await background.run(stop, Reconciler("test"))
    assert await SecondsChunk.objects.acount() == 1
