"""A swap unloads these and loads that, and puts the old ones back where the new one fails."""

from __future__ import annotations

from models_app.backends.protocol import LoadOptions
from models_app.inventory.models import Residency
from models_app.simulation.faults import Fault
from tests.operations.conftest import MIDDLE, SMALL, Stage


def test_a_swap_unloads_and_loads_as_one_operation(ollama: Stage) -> None:
    ollama.done("load", SMALL)
    operation = ollama.done("swap", MIDDLE, unload=(ollama.loaded(SMALL).pk,))
    assert ollama.server.loaded == [MIDDLE]
    assert [(step.action, step.state) for step in operation.steps.all()] == [("unload", "done"), ("load", "done")]
    assert list(Residency.objects.values_list("name", flat=True)) == [MIDDLE]


def test_a_failed_swap_puts_the_old_model_back_with_its_options(ollama: Stage) -> None:
    ollama.done("load", SMALL, LoadOptions(context_length=8192, keep_alive_seconds=3600))
    ollama.server.faults.add(Fault.OUT_OF_MEMORY, times=1)
    operation = ollama.work(ollama.ask("swap", MIDDLE, unload=(ollama.loaded(SMALL).pk,)))
    assert (operation.state, operation.error_code) == ("failed", "out_of_memory")
    assert operation.result["restored"] == [SMALL]
    assert ollama.server.loaded == [SMALL]
    runner = ollama.server.scheduler.runners[0]
    assert (runner.context, runner.keep_alive_seconds) == (8192, 3600)
    assert Residency.objects.get().options == {"context_length": 8192, "keep_alive_seconds": 3600}


def test_a_model_of_another_client_comes_back_with_the_context_that_was_observed(ollama: Stage) -> None:
    ollama.thread.run(ollama.server.preload(SMALL, num_ctx=2048))
    ollama.look()
    ollama.server.faults.add(Fault.OUT_OF_MEMORY, times=1)
    operation = ollama.work(ollama.ask("swap", MIDDLE, unload=(ollama.loaded(SMALL).pk,)))
    assert operation.result["restored"] == [SMALL]
    assert ollama.server.scheduler.runners[0].context == 2048


def test_what_cannot_be_put_back_is_said(ollama: Stage) -> None:
    ollama.done("load", SMALL)
    ollama.server.faults.add(Fault.OUT_OF_MEMORY, times=2)
    operation = ollama.work(ollama.ask("swap", MIDDLE, unload=(ollama.loaded(SMALL).pk,)))
    assert operation.state == "failed"
    assert operation.result["not_restored"] == [SMALL]
    assert ollama.server.loaded == []


def test_a_model_that_pretended_to_load_is_replaced_by_the_old_one(ollama: Stage, settings: object) -> None:
    settings.VERIFY_TIMEOUT_SECONDS = 0.2  # type: ignore[attr-defined]
    ollama.done("load", SMALL)
    ollama.server.faults.add(Fault.PRETEND_TO_LOAD, times=1)
    operation = ollama.work(ollama.ask("swap", MIDDLE, unload=(ollama.loaded(SMALL).pk,)))
    assert operation.error_code == "not_listed"
    assert ollama.server.loaded == [SMALL]
