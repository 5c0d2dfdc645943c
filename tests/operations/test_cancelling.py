"""A running operation stops at its next look and leaves nothing half done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from models_app.inventory.models import Residency
from models_app.operations.models import Operation
from models_app.operations.requests import request_cancel
from models_app.simulation.catalogue import CATALOGUE, models
from models_app.simulation.faults import Fault
from models_app.simulation.hardware import SimulatedHost
from models_app.simulation.ollama import OllamaSimulator
from models_app.simulation.runner import Timing
from tests.operations.conftest import MIDDLE, SMALL, Stage


def until(happened: Callable[[], object]) -> None:
    """Wait for something that another thread does."""
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def cancelled_when(stage: Stage, operation: Operation, happened: Callable[[], object]) -> Operation:
    """Work an operation off in a thread, and cancel it as soon as something has happened."""
    worker = threading.Thread(target=stage.work, args=(operation,))
    worker.start()
    until(happened)
    request_cancel(stage.admin, Operation.objects.get(pk=operation.pk))
    worker.join()
    operation.refresh_from_db()
    return operation


def test_a_cancelled_load_is_aborted_and_gives_its_memory_back(ollama: Stage) -> None:
    ollama.server.faults.add(Fault.STALL_LOAD)
    operation = cancelled_when(ollama, ollama.ask("load", SMALL), lambda: ollama.used_bytes() > 0)
    assert operation.state == "cancelled"
    until(lambda: ollama.used_bytes() == 0)
    assert not Residency.objects.exists()
    assert ollama.ask("load", SMALL)


def test_a_cancelled_load_of_a_router_is_taken_out_again(router: Stage) -> None:
    router.server.faults.add(Fault.STALL_LOAD)
    operation = router.ask("load", "bge-m3-f16")
    operation = cancelled_when(router, operation, lambda: router.used_bytes() > 0)
    assert operation.state == "cancelled"
    until(lambda: router.used_bytes() == 0)


def test_a_cancelled_swap_puts_the_old_model_back(ollama: Stage) -> None:
    ollama.done("load", SMALL)
    ollama.server.faults.add(Fault.STALL_LOAD, times=1)
    operation = ollama.ask("swap", MIDDLE, unload=(ollama.loaded(SMALL).pk,))

    def is_loading() -> bool:
        return operation.steps.filter(action="load", state="running").exists() and ollama.used_bytes() > 0

    operation = cancelled_when(ollama, operation, is_loading)
    assert operation.state == "cancelled"
    assert operation.result["restored"] == [SMALL]
    assert ollama.server.loaded == [SMALL]
    assert Residency.objects.get().name == SMALL


def test_a_cancelled_pull_leaves_the_model_uninstalled(make_stage: Any, machine: SimulatedHost) -> None:
    slowly = Timing(pull_bytes_per_second=CATALOGUE["qwen3:8b"].file_bytes / 60)
    stage = make_stage(OllamaSimulator(machine, models(SMALL), timing=slowly), "ollama", "ollama")
    asked = stage.ask("pull", "qwen3:8b")
    under_way = Operation.objects.filter(pk=asked.pk, phase__startswith="pulling")
    assert cancelled_when(stage, asked, under_way.exists).state == "cancelled"
    assert "qwen3:8b" not in stage.server.models


def test_a_cancelled_measurement_of_the_speed_leaves_the_model_loaded(ollama: Stage) -> None:
    ollama.done("load", SMALL)
    ollama.server.timing.token_seconds = 60
    [runner] = ollama.server.scheduler.runners
    operation = cancelled_when(ollama, ollama.ask("measure_speed", SMALL), lambda: runner.users)
    assert operation.state == "cancelled"
    assert ollama.server.loaded == [SMALL]
    until(lambda: not runner.users)
