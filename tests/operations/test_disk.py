"""Pulling and deleting models, and changing how long they stay."""

from __future__ import annotations

import pytest

from models_app.backends.protocol import LoadOptions
from models_app.catalog.models import Installation
from models_app.inventory.models import Residency
from models_app.simulation.faults import Fault
from tests.operations.conftest import SMALL, Stage


def test_a_pull_installs_a_model_that_can_then_be_loaded(ollama: Stage) -> None:
    operation = ollama.done("pull", "qwen3:8b")
    assert operation.verified_by == "endpoint"
    assert Installation.objects.filter(endpoint=ollama.endpoint, name="qwen3:8b").exists()
    ollama.done("load", "qwen3:8b")


def test_a_pull_of_what_the_registry_does_not_have_fails_in_its_words(ollama: Stage) -> None:
    operation = ollama.work(ollama.ask("pull", "nobody-has-this:1b"))
    assert (operation.state, operation.error_code) == ("failed", "model_not_found")


def test_a_delete_removes_the_model_and_its_row(ollama: Stage) -> None:
    ollama.done("delete", SMALL)
    assert SMALL not in ollama.server.models
    assert not Installation.objects.filter(endpoint=ollama.endpoint, name=SMALL).exists()


def test_another_keep_alive_does_not_reload_the_model(ollama: Stage) -> None:
    ollama.done("load", SMALL, LoadOptions(context_length=8192, keep_alive_seconds=60))
    loads = ollama.server.scheduler.loads
    ollama.done("set_keep_alive", SMALL, LoadOptions(keep_alive_seconds=-1))
    assert ollama.server.scheduler.loads == loads
    assert ollama.loaded(SMALL).kept_forever
    assert Residency.objects.get().options == {"context_length": 8192, "keep_alive_seconds": -1}


def test_a_confirmed_keep_alive_of_another_clients_model_repeats_what_is_observed(ollama: Stage) -> None:
    ollama.thread.run(ollama.server.preload(SMALL, num_ctx=2048))
    ollama.look()
    ollama.done("set_keep_alive", SMALL, LoadOptions(keep_alive_seconds=60), confirmed=True)
    assert ollama.server.scheduler.loads == 1
    assert ollama.loaded(SMALL).context_length == 2048
    assert not Residency.objects.exists()


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.CLOSE])
def test_a_pull_that_fails_says_so(ollama: Stage, fault: Fault) -> None:
    ollama.server.faults.add(fault, path="/api/pull")
    operation = ollama.work(ollama.ask("pull", "qwen3:8b"))
    assert operation.state == "queued"
    assert operation.phase.startswith("waiting to try again")
