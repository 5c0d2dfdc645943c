"""A script that follows an operation asks once: the answer comes when the operation has ended."""

from __future__ import annotations

import threading
from contextlib import nullcontext

import pytest

from models_app.operations import ends
from models_app.operations.models import Operation
from models_app.operations.states import transition
from tests.api.conftest import Script
from tests.factories import EndpointFactory


@pytest.fixture
def running(db: None) -> Operation:
    return Operation.objects.create(kind="load", state="running", endpoint=EndpointFactory(), model_name="llama", via="api")


class ElsewhereEvent:
    """Everything ends while somebody waits, in another process: nobody tells of it."""

    def wait(self, _seconds: float) -> bool:
        Operation.objects.update(state="succeeded")
        return False


@pytest.fixture
def ends_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ends, "_listening", lambda _: nullcontext(ElsewhereEvent()))


@pytest.mark.usefixtures("ends_elsewhere")
def test_the_answer_is_held_back_until_the_end(reader: Script, running: Operation) -> None:
    assert reader.get(f"operations/{running.pk}", wait=30).json()["state"] == "succeeded"


def test_an_end_in_this_process_wakes_whoever_waits_for_it(
    transactional_db: None, running: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends, "RARE_LOOK_SECONDS", 60)
    waiting = threading.Thread(target=ends.wait_for_end, args=(running.pk, 60))
    waiting.start()
    while running.pk not in list(ends._waiting.values()):
        assert waiting.is_alive()
    ends.tell_end(running.pk + 1)
    assert not any(told.is_set() for told in list(ends._waiting))
    assert transition(running.pk, Operation.State.RUNNING, Operation.State.SUCCEEDED, "")
    waiting.join(30)
    assert not waiting.is_alive()


def test_an_end_that_was_told_before_somebody_waits_is_not_slept_through(
    transactional_db: None, running: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends, "RARE_LOOK_SECONDS", 60)
    assert transition(running.pk, Operation.State.RUNNING, Operation.State.SUCCEEDED, "")
    waiting = threading.Thread(target=ends.wait_for_end, args=(running.pk, 60))
    waiting.start()
    waiting.join(30)
    assert not waiting.is_alive()


@pytest.mark.usefixtures("ends_elsewhere")
def test_one_request_asks_for_an_operation_and_waits_for_its_end(writer: Script) -> None:
    endpoint = EndpointFactory()
    asked = {"kind": "pull", "endpoint": endpoint.name, "model": "qwen3:8b"}
    answer = writer.post("operations?wait=30", asked)
    assert (answer.status_code, answer.json()["state"]) == (202, "succeeded")


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
