"""What follows a commit cannot undo it: a request whose rows stand is answered, whoever cannot be told of it."""

from __future__ import annotations

import pytest
from django.db import OperationalError

from models_app import live
from models_app.operations import submission
from models_app.operations.models import Operation
from tests.operations.conftest import SMALL, Stage


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The operations that a worker was told of."""
    found: list[int] = []
    monkeypatch.setattr(submission, "enqueue", found.append)
    return found


def test_a_worker_is_told_even_where_the_event_could_not_be_counted(
    ollama: Stage, told: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def locked() -> int:
        raise OperationalError("database is locked")

    monkeypatch.setattr(live, "_next_revision", locked)
    operation = ollama.ask("load", SMALL)
    assert told == [operation.pk]
    assert "database is locked" in caplog.text


def test_an_operation_that_no_worker_could_be_told_of_is_queued(ollama: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: int) -> None:
        raise RuntimeError("the queue changed while it was looked at")

    monkeypatch.setattr(submission, "enqueue", fails)
    operation = ollama.ask("load", SMALL)
    assert operation.state == Operation.State.QUEUED
    assert ollama.work(operation).state == "succeeded"
