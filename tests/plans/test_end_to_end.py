"""A plan over a fleet of two hosts: applied side by side, broken in the middle, resumed, and held afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models import F

from models_app.inventory.models import Endpoint, Host
from models_app.operations.advance import advance, advance_for
from models_app.operations.follow import request_resume
from models_app.operations.models import Operation
from models_app.plans.applying import active_plan, apply_plan
from models_app.plans.drift import drift
from models_app.simulation.catalogue import models
from models_app.simulation.devices import GIB, SimulatedGpu
from models_app.simulation.hardware import SimulatedHost
from models_app.simulation.ollama import OllamaSimulator
from models_app.telemetry import sources
from models_app.telemetry.collector import record_sample
from models_app.telemetry.gpus import record_gpus
from tests.factories import HostFactory
from tests.operations.conftest import EMBEDDING, MIDDLE, SMALL, Stage
from tests.plans.conftest import Planner


@pytest.fixture
def other_host(transactional_db: None) -> Iterator[Host]:
    row = HostFactory(name="other")
    yield row
    sources.unregister(row)


@pytest.fixture
def other(make_stage: Any, other_host: Host) -> Stage:
    """An Ollama with the same models on another machine."""
    machine = SimulatedHost("other", [SimulatedGpu("NVIDIA RTX A6000", 48 * GIB)])
    sources.register(other_host, machine)
    record_gpus(other_host, machine.sample())
    return make_stage(OllamaSimulator(machine, models(SMALL, MIDDLE, EMBEDDING)), "ollama", "ollama", other_host)


@pytest.fixture
def fleet(planner: Planner, other: Stage) -> Planner:
    """Two hosts; each of two demands is bound to its own, a third one goes where there is room."""
    planner.demand("chat", MIDDLE, hosts=["testbed"])
    planner.demand("night", MIDDLE, hosts=["other"], apart_from=["chat"])
    planner.demand("search", EMBEDDING, context_length=2048, hosts=["other"])
    return planner


def look(planner: Planner, other: Stage) -> None:
    other.look()
    record_sample(other.endpoint.host, other.machine.sample())
    planner.look()


def restart(stage: Stage) -> None:
    """The server is killed with everything that it had loaded, and comes back at the same address."""

    async def die() -> None:
        await stage.serving.close()
        for runner in list(stage.server.scheduler.runners):
            stage.server.scheduler.unload(runner.model)
            await runner.gone.wait()

    stage.thread.run(die())


def test_hosts_work_in_parallel(fleet: Planner, other: Stage) -> None:
    look(fleet, other)
    plan = apply_plan(fleet.stage.admin, fleet.solved(), confirmed=True)
    assert plan.operation
    advance(plan.operation.pk)
    running = plan.operation.apply_steps.filter(state="running")
    assert sorted(running.values_list("endpoint__host__name", flat=True)) == ["other", "testbed"]
    fleet.finished(plan.operation)
    assert (sorted(fleet.stage.server.loaded), sorted(other.server.loaded)) == ([MIDDLE], [MIDDLE, EMBEDDING])


def test_a_plan_is_applied_broken_in_the_middle_resumed_and_held(fleet: Planner, other: Stage) -> None:
    look(fleet, other)
    plan = apply_plan(fleet.stage.admin, fleet.solved(), confirmed=True, enforce=True)
    assert plan.operation
    advance(plan.operation.pk)
    for part in Operation.objects.filter(part_of__operation=plan.operation, state="queued"):
        fleet.stage.work(part)
        advance_for(part.pk)
    assert plan.operation.apply_steps.filter(state="done").count() == 2

    restart(other)
    failed = fleet.finished(plan.operation)
    assert (failed.state, failed.error_code) == ("failed", "endpoint_refused_connection"), failed.error_message
    assert f"on {other.endpoint.name}" in failed.error_message

    other.thread.run(other.serving.open())
    look(fleet, other)
    resumed = fleet.finished(request_resume(fleet.stage.admin, failed))
    assert resumed.state == "succeeded", resumed.error_message
    assert (sorted(fleet.stage.server.loaded), sorted(other.server.loaded)) == ([MIDDLE], [MIDDLE, EMBEDDING])
    by_host = Operation.objects.filter(kind="load", state="succeeded").values_list(F("endpoint__host__name"), "model_name")
    assert sorted(by_host) == [("other", MIDDLE), ("other", MIDDLE), ("other", EMBEDDING), ("testbed", MIDDLE)]

    plan = fleet.settled(plan)
    assert active_plan() == plan
    look(fleet, other)
    assert drift(plan) == ()


def test_an_endpoint_that_does_not_answer_is_no_drift(fleet: Planner, other: Stage) -> None:
    look(fleet, other)
    plan = fleet.applied(fleet.solved())
    Endpoint.objects.filter(pk=other.endpoint.pk).update(state=Endpoint.State.UNREACHABLE)
    assert drift(plan) == ()
