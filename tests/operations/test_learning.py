"""Every verified load is remembered, and the next estimate starts from it."""

from __future__ import annotations

from typing import Any

import pytest

from models_app.backends.protocol import LoadOptions
from models_app.estimator.types import Grade
from models_app.operations.measurements import LoadMeasurement
from models_app.operations.preview import fit_preview
from models_app.operations.verdicts import FitPreview
from models_app.simulation.hardware import SimulatedHost
from models_app.simulation.runner import Timing
from models_app.telemetry import sources
from tests.operations.conftest import LARGE, MIDDLE, SMALL, Stage

GIB = 1024**3
MIB = 1024**2


def at(context_length: int) -> LoadOptions:
    return LoadOptions(context_length=context_length)


def preview(stage: Stage, context_length: int) -> FitPreview:
    return fit_preview(stage.endpoint, MIDDLE, at(context_length))


def load_and_unload(stage: Stage, context_length: int, model: str = MIDDLE) -> int:
    """What the load took on the GPU."""
    stage.done("load", model, at(context_length))
    used_bytes = stage.used_bytes()
    stage.done("unload", model)
    return used_bytes


def test_the_first_estimate_is_read_from_the_header_and_is_close(ollama: Stage) -> None:
    first = preview(ollama, 8192)
    assert first.grade is Grade.HEADER
    assert first.build_profile
    took = load_and_unload(ollama, 8192)
    assert first.needed_bytes == pytest.approx(took, rel=0.04)


def test_a_verified_load_is_written_down_beside_its_estimate(ollama: Stage) -> None:
    first = preview(ollama, 8192)
    took = load_and_unload(ollama, 8192)
    row = LoadMeasurement.objects.get()
    assert (row.measured_bytes, row.verified_by, row.context_length) == (took, "gpu", 8192)
    assert (row.grade, row.predicted_bytes, row.predicted_error_bytes) == ("header", first.needed_bytes, first.error_bytes)
    assert (row.is_outlier, row.outlier_reason) == (False, "")
    assert row.devices[0]["weights_bytes"] == first.weights_bytes
    assert sum(row.measured.values()) == took


def test_the_next_estimate_starts_from_it(ollama: Stage) -> None:
    first = preview(ollama, 8192)
    took = load_and_unload(ollama, 8192)
    learned = preview(ollama, 8192)
    assert (learned.grade, learned.needed_bytes) == (Grade.LEARNED, took)
    assert learned.error_bytes < first.error_bytes
    assert sum(room.terms.total_bytes for room in learned.chosen if room.terms) == took


def test_at_another_context_it_differs_by_the_cache(ollama: Stage) -> None:
    load_and_unload(ollama, 8192)
    longer = preview(ollama, 32_768)
    took = load_and_unload(ollama, 32_768)
    assert longer.grade is Grade.LEARNED
    assert longer.needed_bytes == pytest.approx(took, abs=96 * MIB)


def test_other_settings_are_not_mistaken_for_these(ollama: Stage) -> None:
    load_and_unload(ollama, 8192)
    assert fit_preview(ollama.endpoint, MIDDLE, LoadOptions(context_length=8192, gpu_layers=10)).grade is Grade.HEADER
    assert fit_preview(ollama.endpoint, SMALL, at(8192)).grade is Grade.HEADER


def test_the_band_shrinks_with_the_number_of_loads(ollama: Stage) -> None:
    bands = []
    for _ in range(3):
        load_and_unload(ollama, 8192)
        bands.append(preview(ollama, 8192).error_bytes)
    assert bands == sorted(bands, reverse=True)
    assert bands[0] > bands[2]


def moving_neighbour(machine: SimulatedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program that takes 2 GiB while a model is being loaded."""
    sweep, pid = machine.spawn, machine.spawn("python")

    def spawn(name: str, **more: Any) -> int:
        machine.allocate(pid, 0, 2 * GIB)
        return sweep(name, **more)

    machine.allocate(pid, 0, GIB)
    monkeypatch.setattr(machine, "spawn", spawn)


def test_a_load_beside_which_another_process_moved_teaches_nothing(
    ollama: Stage, machine: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving_neighbour(machine, monkeypatch)
    ollama.done("load", MIDDLE, at(8192))
    row = LoadMeasurement.objects.get()
    assert row.is_outlier
    assert row.outlier_reason == "Other processes moved 2.0 GiB meanwhile."
    assert preview(ollama, 8192).grade is Grade.HEADER


def test_the_bytes_of_the_models_own_process_are_its_own_whoever_moves(
    ollama: Stage, machine: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = ollama.server.scheduler
    by_model = lambda: {runner.model.name: [runner.pid] for runner in scheduler.runners}  # noqa: E731
    sources.register_pids(ollama.endpoint.pk, ollama.server.pids, by_model)
    moving_neighbour(machine, monkeypatch)
    ollama.done("load", MIDDLE, at(8192))
    row = LoadMeasurement.objects.get()
    assert (row.verified_by, row.is_outlier) == ("process", False)
    assert row.measured_bytes == ollama.used_bytes() - 3 * GIB


def test_a_model_that_was_put_partly_into_ram_teaches_nothing(ollama: Stage) -> None:
    ollama.done("load", LARGE, at(65_536), load_anyway=True)
    row = LoadMeasurement.objects.get()
    assert (row.is_outlier, row.outlier_reason) == (True, "A part of the model was put into host RAM.")


def test_a_load_that_only_the_endpoint_vouches_for_is_not_written_down(ollama: Stage) -> None:
    sources.unregister(ollama.endpoint.host)
    ollama.done("load", SMALL, at(4096))
    assert not LoadMeasurement.objects.exists()


def test_a_slow_load_is_measured_once_it_is_complete(ollama: Stage) -> None:
    ollama.server.timing.shortest_load_seconds = 0.3
    assert isinstance(ollama.server.timing, Timing)
    assert load_and_unload(ollama, 8192, SMALL) == LoadMeasurement.objects.get().measured_bytes
