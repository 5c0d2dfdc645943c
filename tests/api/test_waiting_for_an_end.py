"""A script that follows an operation asks once: the answer comes when the operation has ended."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from models_app.operations import ends
from models_app.operations.models import Operation
from models_app.operations.states import transition
from tests.api.conftest import Script
from tests.factories import EndpointFactory


@pytest.fixture
def running(db: None) -> Operation:
    return Operation.objects.create(kind="load", state="running", endpoint=EndpointFactory(), model_name="llama", via="api")


def test_the_answer_is_held_back_until_the_end(reader: Script, running: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    def end_meanwhile(_known: int, _seconds: float) -> None:
        Operation.objects.filter(pk=running.pk).update(state="succeeded")

    monkeypatch.setattr(ends, "_wait_for_another", end_meanwhile)
    assert reader.get(f"operations/{running.pk}", wait=30).json()["state"] == "succeeded"


def test_an_end_in_this_process_wakes_whoever_waits(
    transactional_db: None, running: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep, sleep = threading.Event(), ends._wait_for_another

    def observed_sleep(known: int, seconds: float) -> None:
        asleep.set()
        sleep(known, seconds)

    def wait() -> None:
        ends.wait_for_end(running.pk, 60)
        connection.close()

    monkeypatch.setattr(ends, "RARE_LOOK_SECONDS", 60)
    monkeypatch.setattr(ends, "_wait_for_another", observed_sleep)
    waiting = threading.Thread(target=wait)
    waiting.start()
    assert asleep.wait(30)
    assert transition(running.pk, Operation.State.RUNNING, Operation.State.SUCCEEDED, "")
    waiting.join(30)
    assert not waiting.is_alive()


def test_an_operation_that_goes_on_is_answered_when_the_time_is_over(reader: Script, running: Operation) -> None:
    assert reader.get(f"operations/{running.pk}", wait=0.01).json()["state"] == "running"


def test_nobody_waits_where_too_many_do(reader: Script, running: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ends, "_places", threading.BoundedSemaphore(1))
    with ends._places:
        assert reader.get(f"operations/{running.pk}", wait=30).json()["state"] == "running"


@pytest.mark.parametrize("wait", ["-1", "31", "soon", "nan"])
def test_another_time_is_refused(reader: Script, running: Operation, wait: str) -> None:
    assert reader.get(f"operations/{running.pk}", wait=wait).status_code == 422


def test_what_is_not_there_is_not_waited_for(reader: Script) -> None:
    assert reader.get("operations/1", wait=30).status_code == 404
