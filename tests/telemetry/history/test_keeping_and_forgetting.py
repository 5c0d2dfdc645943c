"""Hours are rolled up once they have ended, again when a late sample comes, and forgotten in the end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine

from models_app.inventory.models import Gpu, LoadedModel
from models_app.telemetry.history import maintenance
from models_app.telemetry.history.maintenance import maintain
from models_app.telemetry.history.recorder import Recorder
from models_app.telemetry.history.store import SPANS, moment, steps_of
from models_app.telemetry.models import SecondsChunk, StepsChunk
from tests.factories import GpuFactory
from tests.telemetry.history.conftest import NOON, Note

START = NOON.timestamp()
HOUR, DAY = 3600, 86_400


def means(gpu: Gpu, resolution: int, column: str = "used") -> list[tuple[int, float]]:
    steps = steps_of(gpu.pk, resolution, START - 2 * DAY, START + 2 * DAY)
    return [(round(time - START), mean) for time, mean in zip(steps.times, steps.columns[f"mean|{column}"], strict=True)]


def minute(gpu: Gpu, note: Note, at: int, used: int = 1000) -> None:
    for second in range(at, at + 60, 5):
        note(second, used)


def test_an_hour_is_rolled_up_when_it_has_ended(
    gpu: Gpu, recorder: Recorder, note: Note, clock: time_machine.Coordinates
) -> None:
    minute(gpu, note, 0, 1000)
    minute(gpu, note, 60, 3000)
    recorder.flush()
    clock.move_to(NOON + timedelta(hours=1, seconds=30))
    maintain()
    assert not StepsChunk.objects.exists()
    clock.move_to(NOON + timedelta(hours=1, seconds=90))
    maintain()
    assert sorted(StepsChunk.objects.values_list("resolution_seconds", "starts_at")) == [
        (10, NOON), (60, NOON), (HOUR, moment(START // (10 * DAY) * 10 * DAY))
    ]  # fmt: skip
    assert not SecondsChunk.objects.filter(pending=True).exists()


def test_rolled_up_or_not_the_answer_is_the_same(
    gpu: Gpu, recorder: Recorder, note: Note, llama: LoadedModel, clock: time_machine.Coordinates
) -> None:
    clock.move_to(NOON + timedelta(hours=2, minutes=5))
    for second in range(0, 2 * HOUR, 30):
        note(second, 1000 + second, models={llama: 500} if second > HOUR else {})
    recorder.flush()
    model = f"model:{llama.endpoint_id}:llama3.1:8b"
    before = [means(gpu, resolution, column) for resolution in (10, 60, HOUR) for column in ("used", model)]
    maintain()
    assert [means(gpu, resolution, column) for resolution in (10, 60, HOUR) for column in ("used", model)] == before
    assert means(gpu, HOUR) == [(0, 2785), (HOUR, 6385)]
    assert means(gpu, HOUR, model) == [(0, 0), (HOUR, 500 * 119 / 120)]


def test_doing_it_again_changes_nothing(gpu: Gpu, recorder: Recorder, note: Note, clock: time_machine.Coordinates) -> None:
    minute(gpu, note, 0)
    recorder.flush()
    clock.move_to(NOON + timedelta(hours=1, minutes=5))
    maintain()
    before = list(StepsChunk.objects.order_by("pk").values())
    SecondsChunk.objects.update(pending=True)
    maintain()
    assert list(StepsChunk.objects.order_by("pk").values()) == before


def test_a_late_sample_corrects_its_hour(gpu: Gpu, recorder: Recorder, note: Note, clock: time_machine.Coordinates) -> None:
    clock.move_to(NOON + timedelta(hours=2, minutes=5))
    note(0, 1000)
    note(HOUR, 7000)
    recorder.flush()
    maintain()
    note(5, 3000)
    recorder.flush()
    expected = [(0, 2000), (HOUR, 7000)]
    assert [means(gpu, 10), means(gpu, HOUR)] == [expected, expected]
    maintain()
    assert not SecondsChunk.objects.filter(pending=True).exists()
    assert [means(gpu, 10), means(gpu, HOUR)] == [expected, expected]


def test_samples_go_after_their_time_and_their_steps_stay(
    gpu: Gpu, recorder: Recorder, note: Note, clock: time_machine.Coordinates, settings: Any
) -> None:
    settings.HISTORY_RAW_HOURS = 2
    clock.move_to(NOON + timedelta(hours=3, minutes=5))
    note(0, 1000)
    note(HOUR, 2000)
    recorder.flush()
    maintain()
    assert list(SecondsChunk.objects.values_list("starts_at", flat=True)) == [moment(START + HOUR)]
    assert means(gpu, 60) == [(0, 1000), (HOUR, 2000)]


def test_a_sample_that_comes_when_the_others_are_gone_fills_only_what_is_empty(
    gpu: Gpu, recorder: Recorder, note: Note, clock: time_machine.Coordinates
) -> None:
    note(0, 1000)
    recorder.flush()
    clock.move_to(NOON + timedelta(hours=5))
    maintain()
    assert not SecondsChunk.objects.exists()
    late = Recorder()
    for second, used in ((0, 1000), (1, 9000), (120, 3000)):
        note(second, used, by=late)
    late.flush()
    expected = [(0, 1000), (120, 3000)], [(0, 2000)]
    assert (means(gpu, 60), means(gpu, HOUR)) == expected
    for _ in range(2):
        maintain()
        assert (means(gpu, 60), means(gpu, HOUR)) == expected


def test_a_panel_that_was_away_for_long_takes_every_late_sample(
    gpu: Gpu, recorder: Recorder, note: Note, clock: time_machine.Coordinates
) -> None:
    clock.move_to(NOON + timedelta(hours=10))
    maintain()
    for second in range(0, 600, 60):
        note(second, 1000 + second)
        recorder.flush()
    maintain()
    assert means(gpu, 60) == [(second, 1000 + second) for second in range(0, 600, 60)]


@pytest.mark.parametrize(
    ("resolution", "setting", "unit"),
    [
        (10, "HISTORY_10S_HOURS", timedelta(hours=1)),
        (60, "HISTORY_1MIN_DAYS", timedelta(days=1)),
        (HOUR, "HISTORY_1H_DAYS", timedelta(days=1)),
    ],
)
def test_a_chunk_goes_when_all_of_it_is_too_old(
    gpu: Gpu, clock: time_machine.Coordinates, settings: Any, resolution: int, setting: str, unit: timedelta
) -> None:
    setattr(settings, setting, 3)
    length, second = timedelta(seconds=SPANS[resolution]), timedelta(seconds=1)
    ages = [timedelta(), 3 * unit, 3 * unit + length - second, 3 * unit + length + second, 30 * unit]
    for age in ages:
        StepsChunk.objects.create(gpu=gpu, resolution_seconds=resolution, starts_at=NOON - age, payload=b"")
    maintain()
    assert [NOON - row.starts_at for row in StepsChunk.objects.order_by("-starts_at")] == ages[:3]


def test_a_tick_leaves_to_the_next_what_it_has_no_time_for(
    gpu: Gpu, recorder: Recorder, note: Note, clock: time_machine.Coordinates, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.move_to(NOON + timedelta(hours=2, minutes=5))
    note(0)
    note(HOUR)
    recorder.flush()
    monkeypatch.setattr(maintenance, "BUSY_SECONDS", -1)
    maintain()
    assert list(SecondsChunk.objects.filter(pending=True).values_list("starts_at", flat=True)) == [moment(START + HOUR)]
    maintain()
    assert not SecondsChunk.objects.filter(pending=True).exists()


def test_a_removed_gpu_takes_its_memory_along(
    gpu: Gpu, recorder: Recorder, note: Note, clock: time_machine.Coordinates
) -> None:
    StepsChunk.objects.create(gpu=GpuFactory(), resolution_seconds=60, starts_at=NOON, payload=b"")
    note(0)
    recorder.flush()
    clock.move_to(NOON + timedelta(hours=1, minutes=5))
    maintain()
    gpu.delete()
    assert not SecondsChunk.objects.exists()
    assert StepsChunk.objects.count() == 1
