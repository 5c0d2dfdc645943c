"""What a lost queue or a dead worker leaves behind goes on, and what changed unasked is noticed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from models_app.accounts.models import AuditEntry
from models_app.inventory.models import Residency
from models_app.operations import reconciler as module
from models_app.operations import records
from models_app.operations.heartbeats import RECONCILER, WORKER, Heartbeat, is_alive
from models_app.operations.models import Operation
from models_app.operations.reconciler import Reconciler, notice_lost_models
from models_app.operations.tasks import beat
from tests.operations.conftest import SMALL, Stage, log_of


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The operations that workers are told of."""
    told: list[int] = []
    monkeypatch.setattr(module, "enqueue", told.append)
    return told


def forget(operation: Operation) -> None:
    """The message about the operation was sent a while ago and is lost."""
    Operation.objects.filter(pk=operation.pk).update(enqueued_at=timezone.now() - timedelta(minutes=1))


def test_a_queued_operation_whose_message_was_lost_is_told_again(ollama: Stage, told: list[int]) -> None:
    operation = ollama.ask("load", SMALL)
    ollama.reconciler.tick_now()
    assert told == []
    forget(operation)
    ollama.reconciler.tick_now()
    ollama.reconciler.tick_now()
    assert told == [operation.pk]


def test_an_operation_that_is_not_due_is_left_alone(ollama: Stage, told: list[int]) -> None:
    operation = ollama.ask("load", SMALL)
    forget(operation)
    Operation.objects.update(due_at=timezone.now() + timedelta(minutes=1))
    ollama.reconciler.tick_now()
    assert told == []


def test_an_operation_with_an_expired_lease_is_told_again(ollama: Stage, told: list[int]) -> None:
    operation = ollama.ask("load", SMALL)
    forget(operation)
    Operation.objects.update(state="running", lease_token="dead", lease_expires_at=timezone.now() - timedelta(seconds=1))
    ollama.reconciler.tick_now()
    assert told == [operation.pk]


def test_one_reconciler_works_at_a_time(ollama: Stage) -> None:
    first, second = Reconciler(), Reconciler()
    assert first.tick_now()
    assert not second.tick_now()
    Heartbeat.objects.filter(name=RECONCILER).update(at=timezone.now() - timedelta(minutes=1))
    assert second.tick_now()
    assert not first.tick_now()


def test_readiness_sees_the_reconciler_and_the_worker(ollama: Stage) -> None:
    assert not is_alive(RECONCILER)
    assert not is_alive(WORKER)
    ollama.reconciler.tick_now()
    beat()
    assert is_alive(RECONCILER)
    assert is_alive(WORKER)


def test_a_model_that_left_behind_our_back_is_noticed_once(ollama: Stage) -> None:
    operation = ollama.done("load", SMALL)
    ollama.server.scheduler.runners[0].leaving = True
    ollama.thread.run(ollama.server.scheduler._release(ollama.server.scheduler.runners[0]))
    ollama.look()
    ollama.reconciler.tick_now()
    ollama.reconciler.tick_now()
    assert Residency.objects.get().lost_at is not None
    assert AuditEntry.objects.filter(action="model.lost").count() == 1
    assert "left memory without Berth" in log_of(operation)[-1]


def test_however_many_models_were_lost_the_database_is_asked_the_same(ollama: Stage) -> None:
    def lose(count: int) -> int:
        """The statements of a tick after so many more models were lost, and noticed."""
        now, known = timezone.now(), Residency.objects.count()
        Residency.objects.bulk_create(
            Residency(endpoint=ollama.endpoint, name=f"model-{known + number}", since=now, lost_at=now)
            for number in range(count)
        )
        notice_lost_models(now)
        with CaptureQueriesContext(connection) as asked:
            notice_lost_models(now)
        return len(asked)

    assert lose(1) == lose(20)
    assert AuditEntry.objects.filter(action="model.lost").count() == 21


def test_a_model_that_berth_unloads_is_not_reported_as_lost(ollama: Stage) -> None:
    ollama.done("load", SMALL)
    ollama.done("unload", SMALL)
    ollama.look()
    ollama.reconciler.tick_now()
    assert not AuditEntry.objects.filter(action="model.lost").exists()


@pytest.mark.parametrize("words", ["database is locked", "database or disk is full"])
@pytest.mark.parametrize("unit", ["start_step", "settle_step", "finish"])
def test_a_database_that_fails_half_way_loses_nothing(
    ollama: Stage, monkeypatch: pytest.MonkeyPatch, words: str, unit: str
) -> None:
    operation = ollama.ask("load", SMALL)

    def fail(*_args: object, **_more: object) -> None:
        raise OperationalError(words)

    with monkeypatch.context() as broken:
        broken.setattr(records, unit, fail)
        with pytest.raises(OperationalError):
            ollama.work(operation)
    operation.refresh_from_db()
    assert operation.state == "running"
    Operation.objects.filter(pk=operation.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert ollama.work(operation).state == "succeeded"
    assert ollama.server.scheduler.loads == 1
    assert Residency.objects.get().name == SMALL
