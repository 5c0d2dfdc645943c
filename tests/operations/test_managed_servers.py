"""Operations on a server that Berth starts itself: the fake program as a real process, from the row to the log."""

from __future__ import annotations

import os
import signal
from typing import Any

import psutil
import pytest
from django.conf import settings
from django.contrib.auth.models import User

from models_app.accounts.models import AuditEntry
from models_app.accounts.roles import Via, actor
from models_app.agent.supervision import processes
from models_app.agent.supervision.crashes import Pace
from models_app.agent.supervision.supervisor import Supervisor
from models_app.backends.protocol import LoadOptions
from models_app.inventory.hosts import ensure_local_host
from models_app.inventory.managed import add_managed, update_managed
from models_app.inventory.models import Endpoint, LoadedModel, ManagedServer, Residency
from models_app.inventory.refresh import refresh_installed
from models_app.inventory.server_hosts import supervisor
from models_app.operations.models import Operation, OperationLog
from models_app.operations.reconciler import Reconciler
from models_app.operations.refusals import RequestRefused
from tests.fixtures.managed import QUICK, Machine
from tests.operations.conftest import LoopThread, Stage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stage(managed_machine: Machine, settings: Any, admin_user: User, thread: LoopThread) -> Stage:
    """A managed server of the panel's own host, which has no GPU."""
    settings.MANAGED_FILE = managed_machine.allow_file
    settings.DATA_DIR = managed_machine.root
    settings.VERIFY_TIMEOUT_SECONDS = 2
    admin = actor(admin_user, Via.WEB)
    endpoint = add_managed(admin, ensure_local_host(), "", managed_machine.spec())
    unused: Any = None
    stage = Stage(unused, unused, unused, endpoint, admin, thread)
    thread.run(refresh_installed(endpoint))
    endpoint.refresh_from_db()
    return stage


@pytest.fixture(autouse=True)
def nothing_left(stage: Stage) -> Any:
    """Whatever a test started has ended when it ends."""
    yield
    for row in ManagedServer.objects.all():
        supervisor().server(row.key).stop()


def server(endpoint: Endpoint) -> ManagedServer:
    return ManagedServer.objects.get(endpoint=endpoint)


def test_a_load_starts_it_is_measured_on_its_process_and_keeps_its_log(stage: Stage) -> None:
    operation = stage.done("load", "tiny")
    row = server(stage.endpoint)
    assert operation.verified_by == "process"
    assert operation.result["moved_bytes"] > 1_000_000
    lines = operation.log.filter(source=OperationLog.SERVER).values_list("text", flat=True)
    assert "loading model" in lines
    assert (row.state, row.restarts, row.problem) == ("running", 0, "")
    assert psutil.pid_exists(row.process_id or 0)
    assert stage.loaded("tiny").process_id == row.process_id
    assert row.settings_digest


def test_an_unload_stops_it_and_is_measured_on_its_process(stage: Stage) -> None:
    stage.done("load", "tiny")
    operation = stage.done("unload", "tiny")
    assert operation.verified_by == "process"
    assert operation.result["moved_bytes"] > 1_000_000
    assert "of host RAM moved (verified by process)" in " ".join(operation.log.values_list("text", flat=True))
    assert server(stage.endpoint).state == "stopped"
    assert not LoadedModel.objects.exists()


def test_a_restart_applies_new_settings_and_keeps_the_pin(stage: Stage, managed_machine: Machine) -> None:
    stage.done("load", "tiny", LoadOptions(pinned=True))
    first = server(stage.endpoint).process_id
    update_managed(stage.admin, stage.endpoint, "renamed", managed_machine.spec(context_length=1024))
    with pytest.raises(RequestRefused, match="pinned"):
        stage.ask("restart", "tiny")
    operation = stage.done("restart", "tiny", confirmed=True)
    row = server(stage.endpoint)
    assert operation.verified_by == "process"
    assert [step.action for step in operation.steps.all()] == ["unload", "load"]
    assert row.process_id != first
    assert "1024" in psutil.Process(row.process_id).cmdline()
    assert Residency.objects.get(endpoint=stage.endpoint).pinned


def test_what_is_not_loaded_is_not_restarted(stage: Stage) -> None:
    with pytest.raises(RequestRefused, match="is not loaded"):
        stage.ask("restart", "tiny")


def test_a_restart_that_fails_says_why_and_leaves_it_stopped(stage: Stage, managed_machine: Machine) -> None:
    stage.done("load", "tiny")
    managed_machine.allow("dies")
    operation = stage.work(stage.ask("restart", "tiny"))
    assert (operation.state, operation.error_code) == ("failed", "load_failed")
    assert "the tensor data is damaged" in operation.error_message
    assert server(stage.endpoint).state == "stopped"


def test_a_crash_is_told_and_its_model_stays_the_one_that_berth_loaded(stage: Stage) -> None:
    stage.done("load", "tiny")
    pid = server(stage.endpoint).process_id or 0
    kill(pid)
    quick = hasty()
    quick.tick()
    stage.look()
    waiting = server(stage.endpoint)
    assert (waiting.state, waiting.restarts) == ("restarting", 1)
    assert stage.loaded("tiny").state == "loading"
    quick.tick()
    look_until(stage, "running")
    again = server(stage.endpoint)
    assert again.process_id != pid
    assert "signal 9" in again.problem
    assert Residency.objects.get(endpoint=stage.endpoint).lost_at is None
    assert "signal 9" in AuditEntry.objects.get(action="server.crash").detail["problem"]


def test_one_that_is_given_up_is_told_as_lost_with_its_reason(stage: Stage) -> None:
    stage.done("load", "tiny")
    kill(server(stage.endpoint).process_id or 0)
    quick = hasty(Pace(grace_seconds=0.3, most_crashes=0))
    while quick.server(server(stage.endpoint).key).look().state != "given_up":
        quick.tick()
    stage.look()
    Reconciler().tick_now()
    story = " ".join(Operation.objects.get().log.values_list("text", flat=True))
    assert "has left memory without Berth: The llama-server of tiny" in story
    assert server(stage.endpoint).state == "given_up"


def test_a_cancelled_load_stops_the_server(stage: Stage, managed_machine: Machine) -> None:
    managed_machine.allow("never")
    operation = stage.ask("load", "tiny")
    Operation.objects.filter(pk=operation.pk).update(cancel_requested_at=operation.created_at)
    stage.work(operation)
    assert operation.state == "cancelled"
    assert supervisor().server(server(stage.endpoint).key).family() == frozenset()


def test_a_file_that_is_no_longer_allowed_fails_the_load_with_the_reason(stage: Stage, managed_machine: Machine) -> None:
    managed_machine.allow(model_folders=["/nowhere"])
    operation = stage.work(stage.ask("load", "tiny"))
    assert (operation.state, operation.error_code) == ("failed", "not_allowed")
    assert "outside of the model folders" in operation.error_message


def kill(pid: int) -> None:
    identity = processes.identity_of(pid)
    os.kill(pid, signal.SIGKILL)
    while processes.is_running(identity):
        pass


def look_until(stage: Stage, state: str) -> None:
    while server(stage.endpoint).state != state:
        stage.look()


def hasty(pace: Pace = QUICK) -> Supervisor:
    """The panel's own, without its patience."""
    return Supervisor(settings.MANAGED_FILE, settings.DATA_DIR / "managed", pace)
