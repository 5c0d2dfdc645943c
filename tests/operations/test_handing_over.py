"""What a request of the same process has read, its worker goes on with; the rows stay the truth."""

from __future__ import annotations

from typing import Any

import pytest

from models_app.operations import handover, job, records
from models_app.operations.handover import Handover, take_over
from models_app.operations.models import Operation
from models_app.operations.requests import request_cancel
from models_app.probes.types import HostSample
from models_app.simulation.hardware import SimulatedHost
from tests.operations.conftest import MIDDLE, SMALL, Stage


@pytest.fixture(autouse=True)
def of_one_process(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.REDIS_URL = ""
    monkeypatch.setattr(handover, "FRESH_SECONDS", 60)
    monkeypatch.setattr(handover, "FRESH_SAMPLE_SECONDS", 60)
    handover._kept.clear()


def handed(operation: Operation) -> Handover:
    found = take_over(operation.pk)
    assert found
    return found


def test_a_load_is_handed_over_once_with_its_model_and_its_sample(ollama: Stage) -> None:
    operation = ollama.ask("load", SMALL)
    found = handed(operation)
    assert found.operation == operation
    assert found.expected.subject.variant
    assert found.sample
    assert take_over(operation.pk) is None


def test_a_load_that_is_handed_over_samples_the_host_and_reads_the_model_no_more_before_its_order(
    ollama: Stage, machine: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = ollama.ask("load", SMALL)
    monkeypatch.setattr(job, "read_expected", lambda _: pytest.fail("it read the model"))
    sample, order = machine.sample, ("POST", "/api/generate")

    def sample_after_order() -> HostSample:
        assert order in ollama.server.requests
        return sample()

    monkeypatch.setattr(machine, "sample", sample_after_order)
    assert ollama.work(operation).state == "succeeded"


def test_what_was_handed_over_too_long_ago_is_read_again(ollama: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "FRESH_SECONDS", -1)
    assert take_over(ollama.ask("load", SMALL).pk) is None


def test_a_sample_ages_faster_than_what_is_known_of_a_model(ollama: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "FRESH_SAMPLE_SECONDS", -1)
    assert handed(ollama.ask("load", SMALL)).sample is None


def test_nothing_is_handed_over_where_the_workers_are_other_processes(ollama: Stage, settings: Any) -> None:
    settings.REDIS_URL = "redis://elsewhere"
    assert take_over(ollama.ask("load", SMALL).pk) is None


def test_what_no_worker_takes_does_not_pile_up(ollama: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "MOST_KEPT", 1)
    first, second = ollama.ask("load", SMALL), ollama.ask("load", MIDDLE)
    assert take_over(first.pk) is None
    assert take_over(second.pk)


def test_what_was_cancelled_meanwhile_is_not_taken(ollama: Stage) -> None:
    operation = ollama.ask("load", SMALL)
    request_cancel(ollama.admin, Operation.objects.get(pk=operation.pk))
    assert records.take(operation.pk, handed(operation).operation) is None
    assert ollama.work(operation).state == "cancelled"


def test_of_two_workers_with_the_same_operation_one_takes_it(ollama: Stage) -> None:
    operation = ollama.ask("load", SMALL)
    known = handed(operation).operation
    assert records.take(operation.pk, known)
    assert records.take(operation.pk, operation) is None
