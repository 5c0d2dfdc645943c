"""Rules over real sockets: a simulated server misbehaves, the alert tells of it, and its button helps."""

from __future__ import annotations

import asyncio
import threading

import pytest

from models_app.alerts.models import Alert
from models_app.inventory.models import Endpoint
from models_app.operations.models import Operation
from models_app.operations.refusals import RequestRefused
from models_app.operations.runner import run
from models_app.probes.types import GpuState
from models_app.simulation.faults import Fault
from tests.alerts.conftest import Theatre
from tests.operations.conftest import LARGE, MIDDLE, SMALL

GIB = 1024**3


def test_a_quiet_server_raises_nothing(theatre: Theatre) -> None:
    theatre.load(SMALL)
    assert theatre.see(0, 30, 300, 30) == set()
    theatre.unload(SMALL)
    assert theatre.see(0, 30, 300, 30) == set()


def test_a_model_that_lies_on_the_cpu_is_told_of_until_it_is_unloaded(theatre: Theatre) -> None:
    theatre.load(MIDDLE, num_ctx=8192, num_gpu=8)
    assert theatre.see(0, 15) == set()
    assert theatre.see(10) == {"cpu_fallback"}
    alert = theatre.alert("cpu_fallback")
    figures = {each["label"]: each["value"] for each in alert.evidence}
    loaded = theatre.stage.loaded(MIDDLE)
    assert figures["On the CPU"] == loaded.size_bytes - loaded.vram_bytes > GIB
    theatre.unload(MIDDLE)
    assert theatre.see(5) == set()
    alert.refresh_from_db()
    assert (alert.state, alert.cleared_at is not None) == ("cleared", True)


def test_memory_that_an_unloaded_model_keeps_is_told_of_until_it_is_given_back(theatre: Theatre) -> None:
    theatre.load(MIDDLE, num_ctx=4096)
    theatre.see(0, 5)
    held_bytes = theatre.stage.used_bytes()
    theatre.stage.server.faults.add(Fault.HOLD_MEMORY)
    [pid] = theatre.stage.server.model_pids()[MIDDLE]
    theatre.unload(MIDDLE)
    assert theatre.see(1, 20, 35) == {"not_released"}
    alert = theatre.alert("not_released")
    assert alert.subject_name == f"{MIDDLE} on {theatre.stage.endpoint.name}"
    assert {each["label"]: each["value"] for each in alert.evidence}["Not given back"] == held_bytes
    theatre.stage.machine.end(pid)
    assert theatre.see(5, 35) == set()


def test_a_server_that_loses_memory_with_each_load_is_told_of(theatre: Theatre) -> None:
    theatre.stage.server.faults.add(Fault.LEAK)
    for _ in range(2):
        theatre.load(SMALL, num_ctx=4096)
        theatre.see(5)
        theatre.unload(SMALL)
        assert theatre.see(5, 20) == set()
    theatre.load(SMALL, num_ctx=4096)
    theatre.see(5)
    theatre.unload(SMALL)
    assert theatre.see(5, 20) == {"leak"}
    assert theatre.alert("leak").value == pytest.approx(192, abs=1)


def test_two_clients_with_different_contexts_are_told_of(theatre: Theatre) -> None:
    for number in range(6):
        theatre.load(SMALL, num_ctx=(4096, 8192)[number % 2])
        raised = theatre.see(10)
    assert raised == {"thrash"}
    alert = theatre.alert("thrash")
    assert "8192 and 4096" in alert.sentence
    assert theatre.see(700) == set()


def test_a_model_stuck_while_stopping_is_told_of_until_the_server_is_restarted(theatre: Theatre) -> None:
    theatre.load(SMALL)
    theatre.see()
    theatre.stage.server.faults.add(Fault.STUCK_STOPPING)
    theatre.unload(SMALL)
    assert theatre.see(1, 30) == set()
    assert theatre.see(40) == {"stuck_stopping"}
    theatre.stage.thread.loop.call_soon_threadsafe(theatre.stage.server.scheduler.stop)
    assert theatre.see(5) == set()


def test_a_hostage_is_told_of_once_others_were_refused_and_its_button_lets_it_go(theatre: Theatre) -> None:
    theatre.load(MIDDLE, num_ctx=65_536)
    theatre.see()
    with pytest.raises(RequestRefused):
        theatre.stage.ask("load", LARGE)
    assert theatre.see(300, 310) == {"hostage"}
    alert = theatre.alert("hostage")
    assert LARGE in alert.sentence
    assert theatre.press(alert) == 409
    assert theatre.press(alert, confirmed="1") == 302
    theatre.stage.work(Operation.objects.get(kind="set_keep_alive"))
    assert theatre.see(5) == set()


def test_a_load_that_stalls_is_told_of_and_its_button_cancels_it(theatre: Theatre) -> None:
    theatre.stage.server.faults.add(Fault.STALL_LOAD)
    operation = theatre.stage.ask("load", SMALL)
    worker = threading.Thread(target=lambda: asyncio.run(run(operation.pk)))
    worker.start()
    while not 0 < theatre.stage.used_bytes() == operation.progress_bytes:
        operation.refresh_from_db()
        assert operation.is_active
    assert theatre.see(0, 60, 50) == set()
    assert theatre.see(20) == {"deadlock"}
    assert theatre.press(theatre.alert("deadlock")) == 302
    worker.join(30)
    operation.refresh_from_db()
    assert operation.state == "cancelled"
    assert theatre.see(5) == set()


def test_a_restart_of_the_panel_neither_forgets_an_alert_nor_raises_it_again(theatre: Theatre) -> None:
    theatre.load(MIDDLE, num_ctx=8192, num_gpu=8)
    assert theatre.see(0, 30) == {"cpu_fallback"}
    theatre.evaluator = type(theatre.evaluator)()
    assert theatre.see(0, 5) == {"cpu_fallback"}
    assert Alert.objects.count() == 1


def test_the_memory_of_reloads_survives_a_restart(theatre: Theatre) -> None:
    for number in range(6):
        theatre.load(SMALL, num_ctx=(4096, 8192)[number % 2])
        theatre.see(61)
        theatre.evaluator = type(theatre.evaluator)()
    assert theatre.see() == {"thrash"}


def test_a_lost_gpu_rings_with_what_was_on_it_and_heals(theatre: Theatre) -> None:
    theatre.load(SMALL)
    theatre.see()
    theatre.stage.machine.gpus[0].state = GpuState.LOST
    assert theatre.see(0, 15) == {"gpu_lost"}
    assert theatre.alert("gpu_lost").evidence == [{"label": "Models on it", "value": 1, "unit": ""}]
    theatre.stage.machine.gpus[0].state = GpuState.OK
    assert theatre.see(5, 15) == set()


def test_an_alert_that_is_over_still_says_what_was_wrong(theatre: Theatre) -> None:
    for state, code in (("unreachable", "endpoint_refused_connection"), ("online", "")):
        Endpoint.objects.update(state=state, state_code=code)
        for _ in range(3):
            theatre.evaluator.evaluate()
            theatre.clock.shift(20)
    assert Alert.objects.values_list("state", "sentence").get() == ("cleared", "Unreachable.")


def test_a_dead_model_that_its_server_still_lists_is_unloaded_by_its_button(theatre: Theatre) -> None:
    theatre.load(SMALL)
    theatre.see()
    [pid] = theatre.stage.server.model_pids()[SMALL]
    theatre.stage.machine.shrink(pid, 0)
    assert theatre.see(0, 25) == {"not_in_memory"}
    assert theatre.press(theatre.alert("not_in_memory"), confirmed="1") == 302
    operation = Operation.objects.get(kind="unload")
    theatre.stage.work(operation)
    operation.refresh_from_db()
    assert (operation.state, operation.verified_by) == ("succeeded", "process")
