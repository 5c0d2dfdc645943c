"""Who may change a GPU's memory, and when the others wait."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from models_app.backends.protocol import LoadOptions
from models_app.inventory.models import Gpu, Residency
from models_app.operations import handover
from models_app.operations.models import Operation
from models_app.operations.preview import fit_preview
from models_app.operations.requests import RequestRefused
from models_app.operations.reservations import Reservation, held_bytes
from models_app.operations.verdicts import Verdict
from models_app.telemetry import sources
from tests.factories import OperationFactory
from tests.operations.conftest import LARGE, MIDDLE, SMALL, Stage, log_of

GIB = 1024**3


def at_work(stage: Stage, reservation_bytes: int = 0, own_baseline_bytes: int | None = None, **columns: Any) -> Operation:
    """Another operation that a runner is working on, with its reservation; ``own_baseline_bytes`` where processes show."""
    running = {
        "state": "running",
        "lease_token": "theirs",
        "lease_expires_at": timezone.now() + timezone.timedelta(hours=1),
    }
    operation = OperationFactory(endpoint=stage.endpoint, model_name=MIDDLE, **(running | columns))
    Reservation.objects.create(
        operation=operation,
        gpu=Gpu.objects.get(),
        reservation_bytes=reservation_bytes,
        baseline_bytes=stage.used_bytes(),
        own_baseline_bytes=own_baseline_bytes,
    )
    return operation


def show_processes(stage: Stage) -> None:
    scheduler = stage.server.scheduler
    by_model = lambda: {runner.model.name: [runner.pid] for runner in scheduler.runners}  # noqa: E731
    sources.register_pids(stage.endpoint.pk, stage.server.pids, by_model)


def test_a_second_operation_waits_while_processes_are_hidden(ollama: Stage) -> None:
    other = at_work(ollama)
    operation = ollama.work(ollama.ask("load", SMALL))
    assert (operation.state, operation.waiting_for_id, operation.attempt) == ("queued", other.pk, 0)
    assert operation.phase == f"waiting for operation {other.pk} on GPU 0"
    assert ollama.server.scheduler.loads == 0
    assert not operation.reservations.exists()


def test_waiting_is_told_once_however_often_it_is_tried(ollama: Stage) -> None:
    at_work(ollama)
    operation = ollama.ask("load", SMALL)
    for _ in range(3):
        Operation.objects.filter(pk=operation.pk).update(due_at=None)
        ollama.work(operation)
    assert sum("Waiting for operation" in line for line in log_of(operation)) == 1


def test_the_one_that_waits_goes_on_when_the_other_has_ended(ollama: Stage) -> None:
    other = at_work(ollama)
    operation = ollama.work(ollama.ask("load", SMALL))
    Operation.objects.filter(pk=other.pk).update(state="failed")
    Operation.objects.filter(pk=operation.pk).update(due_at=None)
    assert ollama.work(operation).state == "succeeded"


def test_several_work_side_by_side_where_every_process_shows(ollama: Stage) -> None:
    show_processes(ollama)
    at_work(ollama, reservation_bytes=4 * GIB, own_baseline_bytes=0)
    operation = ollama.done("load", SMALL)
    assert operation.verified_by == "process"


def test_what_fits_only_after_another_operation_waits_for_it(ollama: Stage) -> None:
    show_processes(ollama)
    operation = ollama.ask("load", SMALL)
    other = at_work(ollama, reservation_bytes=20 * GIB, own_baseline_bytes=0)
    assert ollama.work(operation).waiting_for_id == other.pk


def test_a_load_that_no_longer_fits_when_its_turn_comes_fails_with_the_figures(
    ollama: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "FRESH_SAMPLE_SECONDS", -1)  # its turn comes later
    operation = ollama.ask("load", SMALL)
    pid = ollama.machine.spawn("python")
    ollama.machine.allocate(pid, 0, 20 * GIB)
    operation = ollama.work(operation)
    assert (operation.state, operation.error_code) == ("failed", "does_not_fit")
    assert "are missing" in operation.error_message
    assert ollama.server.scheduler.loads == 0


def test_a_reservation_holds_back_what_has_not_risen_yet(ollama: Stage) -> None:
    operation = at_work(ollama, reservation_bytes=6 * GIB)
    uuid = Gpu.objects.get().uuid
    rows = list(operation.reservations.select_related("gpu"))
    baseline = rows[0].baseline_bytes
    assert held_bytes(rows, {uuid: baseline}) == {uuid: 6 * GIB}
    assert held_bytes(rows, {uuid: baseline + 2 * GIB}) == {uuid: 4 * GIB}
    assert held_bytes(rows, {uuid: baseline + 9 * GIB}) == {uuid: 0}
    assert held_bytes(rows, {uuid: baseline - GIB}) == {uuid: 7 * GIB}


def test_the_preview_counts_what_is_reserved_the_headroom_and_what_an_unload_frees(ollama: Stage) -> None:
    ollama.done("load", MIDDLE, LoadOptions(context_length=8192))
    at_work(ollama, reservation_bytes=3 * GIB)
    loaded = ollama.loaded(MIDDLE)
    room = fit_preview(ollama.endpoint, SMALL, LoadOptions(context_length=8192), unload=[loaded]).rooms[0]
    assert room.held_bytes == 3 * GIB
    assert room.headroom_bytes == int(0.1 * 24 * GIB)
    assert room.freed_bytes == sum(loaded.gpu_bytes.values())
    assert room.available_bytes == room.free_bytes - 3 * GIB - room.headroom_bytes + room.freed_bytes


def test_the_preview_says_what_would_make_room_and_leaves_the_pinned_alone(ollama: Stage) -> None:
    ollama.done("load", MIDDLE, LoadOptions(context_length=32_768))
    ollama.done("load", SMALL, LoadOptions(context_length=65_536), load_anyway=True)
    wanted = LoadOptions(context_length=2048)
    preview = fit_preview(ollama.endpoint, LARGE, wanted)
    assert preview.verdict is Verdict.DOES_NOT_FIT
    names = {entry.name for entry in preview.would_free}
    Residency.objects.filter(name=MIDDLE).update(pinned=True)
    assert MIDDLE not in {entry.name for entry in fit_preview(ollama.endpoint, LARGE, wanted).would_free}
    assert not names or MIDDLE in names


def test_a_preview_without_telemetry_is_unknown(ollama: Stage) -> None:
    sources.unregister(ollama.endpoint.host)
    preview = fit_preview(ollama.endpoint, SMALL, LoadOptions())
    assert preview.verdict is Verdict.UNKNOWN
    assert preview.needed_bytes


def test_a_preview_without_a_shape_widens_its_band_and_says_so(router: Stage) -> None:
    preview = fit_preview(router.endpoint, "bge-m3-f16", LoadOptions())
    assert preview.kv_bytes is None
    assert any("Unknown" in line for line in preview.unknown)


def test_options_that_contradict_each_other_are_refused(ollama: Stage) -> None:
    with pytest.raises(RequestRefused) as refused:
        fit_preview(ollama.endpoint, SMALL, LoadOptions(cache_type_v="q8_0", flash_attention=False))
    assert refused.value.code == "invalid_option"


def test_an_eviction_by_the_endpoint_itself_does_not_hide_the_rise(ollama: Stage) -> None:
    ollama.done("load", MIDDLE, LoadOptions(context_length=65_536), load_anyway=True)
    operation = ollama.ask("load", LARGE, LoadOptions(context_length=2048), load_anyway=True)
    operation = ollama.work(operation)
    assert operation.state == "succeeded", (operation.error_message, log_of(operation))
    assert f"evicted {MIDDLE}" in operation.result["notes"][-1]
