"""A running operation stops at its next look and leaves nothing half done."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from models_app.backends.errors import Unreachable
from models_app.inventory.models import Residency
from models_app.operations.database import Database
from models_app.operations.job import Job
from models_app.operations.models import Operation
from models_app.operations.outcomes import Cancelled
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


def test_a_load_that_is_cancelled_while_its_steps_are_written_leaves_none_at_work(
    ollama: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Job.write_with

    async def cut_off(job: Job, *args: Any) -> Any:
        monkeypatch.undo()
        await write(job, *args)
        raise Cancelled

    operation = ollama.ask("load", SMALL)
    monkeypatch.setattr(Job, "write_with", cut_off)
    ollama.work(operation)
    operation.refresh_from_db()
    assert operation.state == "cancelled"
    assert set(operation.steps.values_list("state", flat=True)) == {"failed"}
    assert ollama.used_bytes() == 0


def test_a_cancelled_swap_puts_the_old_model_back(ollama: Stage) -> None:
    ollama.done("load", SMALL)
    ollama.server.faults.add(Fault.STALL_LOAD, times=1)
    operation = ollama.ask("swap", MIDDLE, unload=(ollama.loaded(SMALL).pk,))
    # A load that is cancelled before it stalls would leave the fault to the one that puts the old model back.
    operation = cancelled_when(ollama, operation, lambda: not ollama.server.faults.active())
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


def test_what_a_cancelled_call_fails_with_is_no_failure_of_the_operation(
    ollama: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks while it is being closed."""
    begun = threading.Event()

    async def breaks_when_cut_off(_job: object, _step: object) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise Unreachable("The connection was lost.") from None

    monkeypatch.setattr("models_app.operations.steps._call_load", breaks_when_cut_off)
    operation = cancelled_when(ollama, ollama.ask("load", SMALL), begun.is_set)
    assert (operation.state, operation.error_code) == ("cancelled", "cancelled")


def test_rows_are_written_though_nobody_waits_for_them_any_more(transactional_db: None) -> None:
    """What a cancelled operation has found out is not lost while another of its units is at work."""
    goes_on, written = threading.Event(), []

    async def cancel_what_waits() -> None:
        async with Database() as database:
            first = asyncio.create_task(database(goes_on.wait, 20))
            second = asyncio.create_task(database(written.append, "a row"))
            await asyncio.sleep(0)
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)
            goes_on.set()
            await first

    asyncio.run(cancel_what_waits())
    assert written == ["a row"]
