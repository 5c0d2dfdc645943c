"""Every way in which an endpoint can let a runner down ends in a verdict that says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from models_app.backends.protocol import LoadOptions
from models_app.inventory.models import Host, Residency
from models_app.operations.models import Operation
from models_app.operations.reconciler import release_reservations
from models_app.operations.reservations import Reservation
from models_app.simulation.faults import Fault
from models_app.simulation.memory import Placement
from models_app.telemetry import sources
from tests.operations.conftest import SMALL, Stage, log_of

GIB = 1024**3


@pytest.fixture(autouse=True)
def impatience(settings: Any) -> None:
    settings.VERIFY_TIMEOUT_SECONDS = 0.3


def ended(stage: Stage, operation: Operation) -> Operation:
    """Work an operation off through all of its attempts, without waiting between them."""
    while operation.is_active:
        Operation.objects.filter(pk=operation.pk).update(due_at=timezone.now())
        stage.work(operation)
    return operation


def failed_load(stage: Stage, fault: Fault, **how: Any) -> Operation:
    operation = stage.ask("load", SMALL)
    stage.server.faults.add(fault, **how)
    operation = ended(stage, operation)
    assert operation.state == "failed"
    assert operation.error_message
    assert not Residency.objects.exists()
    return operation


def test_an_endpoint_that_may_no_longer_be_called_fails_the_load_by_name(ollama: Stage, settings: Any) -> None:
    operation = ollama.ask("load", SMALL)
    settings.ENDPOINT_PORTS = ((1, 1),)
    ollama.work(operation)
    assert (operation.state, operation.error_code) == ("failed", "address_refused")
    assert "is not allowed" in log_of(operation)[-1]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault.CLOSE, "endpoint_unreachable"),
        (Fault.GARBAGE, "endpoint_bad_answer"),
        (Fault.HUGE_BODY, "endpoint_bad_answer"),
        (Fault.UNAUTHORIZED, "endpoint_unauthorized"),
        (Fault.SERVER_ERROR, "endpoint_fault"),
    ],
)
def test_an_endpoint_that_misbehaves_fails_the_load_by_name(ollama: Stage, fault: Fault, code: str) -> None:
    assert failed_load(ollama, fault).error_code == code


def test_an_endpoint_that_hangs_fails_the_load_by_name(ollama: Stage, settings: Any) -> None:
    settings.CALL_TIMEOUT_SECONDS = 0.5
    assert failed_load(ollama, Fault.HANG).error_code == "endpoint_timed_out"


def test_what_may_pass_is_tried_three_times_and_then_given_up(ollama: Stage) -> None:
    operation = failed_load(ollama, Fault.SERVER_ERROR, path="/api/generate")
    assert operation.attempt == 3
    assert ollama.server.requests.count(("POST", "/api/generate")) == 3


def test_a_passing_fault_is_overcome(ollama: Stage) -> None:
    operation = ollama.ask("load", SMALL)
    ollama.server.faults.add(Fault.SERVER_ERROR, times=1)
    assert ended(ollama, operation).state == "succeeded"
    assert any("Trying again" in line for line in log_of(operation))


def test_an_endpoint_that_refuses_connections_fails_the_load(ollama: Stage) -> None:
    operation = ollama.ask("load", SMALL)
    ollama.thread.run(ollama.serving.close())
    assert ended(ollama, operation).error_code == "endpoint_refused_connection"


def test_a_load_that_hangs_is_given_up_and_taken_out(ollama: Stage, settings: Any) -> None:
    settings.LOAD_TIMEOUT_SECONDS = 0.5
    operation = failed_load(ollama, Fault.STALL_LOAD)
    assert operation.error_code == "load_timed_out"
    assert ollama.used_bytes() == 0


def test_out_of_memory_is_named(ollama: Stage) -> None:
    operation = failed_load(ollama, Fault.OUT_OF_MEMORY)
    assert operation.error_code == "out_of_memory"
    assert operation.attempt == 1


def test_a_runner_that_dies_half_way_fails_the_load(ollama: Stage) -> None:
    assert failed_load(ollama, Fault.DIE_WHILE_LOADING).error_code == "endpoint_fault"
    assert ollama.used_bytes() == 0


def test_success_without_a_model_is_no_success(ollama: Stage) -> None:
    assert failed_load(ollama, Fault.PRETEND_TO_LOAD).error_code == "not_listed"


def test_believing_the_endpoint_is_possible_only_by_the_test_hook(ollama: Stage, settings: Any) -> None:
    settings.SKIP_VERIFICATION = True
    operation = ollama.ask("load", SMALL)
    ollama.server.faults.add(Fault.PRETEND_TO_LOAD)
    operation = ollama.work(operation)
    assert operation.state == "succeeded"
    assert operation.verified_by == ""
    assert "nothing was measured" in operation.result["notes"][0]


def test_a_model_that_is_listed_while_no_memory_moved_is_shown_as_that(
    ollama: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = ollama.machine.sample()
    monkeypatch.setattr(ollama.machine, "sample", lambda: replace(frozen, taken_at=timezone.now()))
    operation = ollama.work(ollama.ask("load", SMALL))
    assert (operation.state, operation.error_code) == ("failed", "memory_did_not_move")
    assert "0 MiB" in operation.error_message
    assert ollama.server.loaded == [SMALL]
    assert ollama.loaded(SMALL)


def test_a_model_that_landed_on_the_cpu_fails(ollama: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu = lambda need, *_args, **_more: Placement(need, {})  # noqa: E731
    monkeypatch.setattr("models_app.simulation.ollama_scheduler.place", on_cpu)
    operation = ollama.work(ollama.ask("load", SMALL))
    assert (operation.state, operation.error_code) == ("failed", "on_cpu")


def test_a_model_that_spilled_partly_is_loaded_with_a_warning(ollama: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    half = lambda need, *_args, **_more: Placement(need, {0: 0.6})  # noqa: E731
    monkeypatch.setattr("models_app.simulation.ollama_scheduler.place", half)
    operation = ollama.done("load", SMALL)
    assert "Partly in host RAM" in operation.result["notes"][0]


def test_a_load_onto_the_cpu_by_choice_succeeds(ollama: Stage) -> None:
    operation = ollama.done("load", SMALL, LoadOptions(gpu_layers=0))
    assert operation.verified_by == "endpoint"
    assert ollama.used_bytes() == 0


def test_without_telemetry_the_endpoint_is_believed_and_named(ollama: Stage) -> None:
    sources.unregister(ollama.endpoint.host)
    operation = ollama.done("load", SMALL)
    assert operation.verified_by == "endpoint"


def unloaded_with(stage: Stage, fault: Fault, **how: Any) -> Operation:
    stage.done("load", SMALL)
    stage.server.faults.add(fault, **how)
    return stage.work(stage.ask("unload", SMALL))


def test_memory_that_stays_after_an_unload_is_a_failure(ollama: Stage) -> None:
    operation = unloaded_with(ollama, Fault.HOLD_MEMORY)
    assert (operation.state, operation.error_code) == ("failed", "memory_held")
    assert operation.after_bytes == operation.before_bytes


def test_a_model_that_never_stops_is_a_failure(ollama: Stage) -> None:
    operation = unloaded_with(ollama, Fault.STUCK_STOPPING)
    assert (operation.state, operation.error_code) == ("failed", "stuck_stopping")


def test_an_unload_that_another_client_undoes_once_is_repeated(ollama: Stage) -> None:
    operation = unloaded_with(ollama, Fault.RELOAD_DURING_UNLOAD, times=1)
    assert operation.state == "succeeded"
    assert ollama.server.loaded == []


def test_an_unload_that_another_client_keeps_undoing_is_given_up(ollama: Stage) -> None:
    operation = unloaded_with(ollama, Fault.RELOAD_DURING_UNLOAD)
    assert (operation.state, operation.error_code) == ("failed", "reloaded_by_another_client")


def test_a_failure_leaves_no_reservation_once_a_later_sample_came(ollama: Stage) -> None:
    operation = failed_load(ollama, Fault.OUT_OF_MEMORY)
    assert Reservation.objects.filter(operation=operation).exists()
    release_reservations(timezone.now())
    assert Reservation.objects.filter(operation=operation).exists()
    Host.objects.update(last_sample_at=timezone.now())
    release_reservations(timezone.now())
    assert not Reservation.objects.filter(operation=operation).exists()


def test_a_broken_model_of_a_router_fails_its_load(router: Stage) -> None:
    operation = router.work(router.ask("load", "mixtral-truncated-q4_k_m", load_anyway=True))
    assert (operation.state, operation.error_code) == ("failed", "load_failed")
