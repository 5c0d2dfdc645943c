"""``POST /strategy``: a question, open to everyone who may read."""

from __future__ import annotations

from typing import Any

import pytest

from models_app.accounts.models import AuditEntry
from models_app.catalog.models import Installation
from models_app.operations.models import Operation
from tests.api.conftest import Script
from tests.api.test_fit import GIB, machine, place
from tests.factories import InstallationFactory, VariantFactory

__all__ = ["machine", "place"]


def ask(script: Script, **body: Any) -> dict[str, Any]:
    answer = script.post("strategy", {"models": ["llama3.1:8b"], "host": "atlas"} | body)
    assert answer.status_code == 200, answer.content
    told: dict[str, Any] = answer.json()
    return told


def test_a_reader_learns_what_stays_and_nothing_changes(reader: Script, place: Installation) -> None:
    audited = AuditEntry.objects.count()
    told = ask(reader)
    assert (told["strategy"], told["host"]) == ("concurrent", "atlas")
    [model] = told["models"]
    assert (model["role"], model["installed_as"], model["grade"]) == ("stays", "llama3.1:8b", "header")
    assert {option["strategy"] for option in told["options"]} == {"concurrent", "hybrid", "hot_swap", "containers"}
    assert told["capacity_bytes"] > told["free_bytes"]
    assert (Operation.objects.count(), AuditEntry.objects.count()) == (0, audited)


def test_one_gpu_alone_may_be_asked_about(reader: Script, place: Installation, machine: Any) -> None:
    whole, small = ask(reader), ask(reader, gpu=machine.gpus[1].uuid)
    assert len(whole["gpus"]) == 2
    assert small["gpus"] == [machine.gpus[1].uuid]
    assert small["capacity_bytes"] < 8 * GIB < whole["capacity_bytes"]


def test_models_that_do_not_fit_take_turns(reader: Script, place: Installation) -> None:
    large = VariantFactory(file_size_bytes=17 * GIB, name="large:1")
    InstallationFactory(endpoint=place.endpoint, variant=large)
    told = ask(reader, models=["llama3.1:8b", large.pk, "llama3.1:8b"], context_length=16_384, tolerated_seconds=600)
    assert told["strategy"] in ("hybrid", "hot_swap", "concurrent")
    assert [each["model"] for each in told["models"]] == ["llama3.1:8b", "large:1"]
    assert all(each["needed_bytes"] for each in told["models"])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"models": ["nobody:1"]}, "unknown_model"),
        ({"host": "nowhere"}, "unknown_host"),
        ({"host": 2**70}, "unknown_host"),
        ({"gpu": "GPU-none"}, "unknown_gpu"),
        ({"models": []}, "invalid_request"),
        ({"context_length": 0}, "invalid_request"),
        ({"colour": "red"}, "invalid_request"),
    ],
)
def test_what_makes_no_sense_is_refused(reader: Script, place: Installation, body: dict[str, Any], code: str) -> None:
    answer = reader.post("strategy", {"models": ["llama3.1:8b"], "host": "atlas"} | body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
