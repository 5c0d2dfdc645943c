"""Any span of time in about as many points as were asked for, from whatever is kept of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine

from models_app.inventory.models import Gpu, LoadedModel
from models_app.telemetry.history.maintenance import maintain
from models_app.telemetry.history.query import MOST_SHARES, STEPS, History, Series, Unanswerable, history, model_history
from models_app.telemetry.history.recorder import Recorder
from models_app.telemetry.history.rollup import RESOLUTIONS
from models_app.telemetry.history.series import Kind
from tests.factories import GpuFactory
from tests.telemetry.history.conftest import NOON, Note


def series(found: History, kind: Kind, name: str = "") -> Series:
    return next(each for each in found.series if each.key.kind is kind and each.key.name == name)


@pytest.mark.parametrize(
    ("span", "resolution", "step"),
    [
        (timedelta(minutes=5), 1, 2),
        (timedelta(hours=1), 1, 6),
        (timedelta(hours=6), 10, 40),
        (timedelta(hours=24), 60, 180),
        (timedelta(days=7), 60, 1200),
        (timedelta(days=30), 3600, 7200),
        (timedelta(days=365), 3600, 86_400),
    ],
)
def test_a_span_is_told_in_at_most_as_many_points_as_asked_for(
    gpu: Gpu, clock: time_machine.Coordinates, span: timedelta, resolution: int, step: int
) -> None:
    found = history([gpu], NOON - span, NOON)
    assert (found.resolution_seconds, found.step_seconds) == (resolution, step)
    assert 150 <= len(found.times) <= 601
    assert found.times[0] <= (NOON - span).timestamp()
    assert found.times[-1] < NOON.timestamp() <= found.times[-1] + step


def test_every_step_is_made_of_whole_ones_of_its_resolution() -> None:
    for step in STEPS:
        finest = max(each for each in (1, *RESOLUTIONS) if each <= step)
        assert step % finest == 0


def test_an_old_hour_is_told_by_what_is_kept_of_it(gpu: Gpu, clock: time_machine.Coordinates) -> None:
    ages = (timedelta(hours=1), timedelta(hours=5), timedelta(days=5), timedelta(days=50), timedelta(days=5000))
    found = [history([gpu], NOON - age, NOON - age + timedelta(hours=1)) for age in ages]
    assert [each.resolution_seconds for each in found] == [1, 10, 60, 3600, 3600]


@pytest.mark.parametrize("resolution", ["seconds", "steps"])
def test_shares_add_up_to_the_used_bytes(
    gpu: Gpu, recorder: Recorder, note: Note, llama: LoadedModel, clock: time_machine.Coordinates, resolution: str
) -> None:
    for second in range(0, 3600, 10):
        note(second, 9000 + second, models={llama: 4000} if second >= 1800 else {}, others={"python": 600})
    recorder.flush()
    clock.move_to(NOON + timedelta(hours=1, minutes=5))
    if resolution == "steps":
        maintain()
    found = history([gpu], NOON, NOON + timedelta(hours=1), points=600 if resolution == "seconds" else 6)
    shares = [each for each in found.series if each.key.kind in (Kind.MODEL, Kind.OTHER, Kind.UNEXPLAINED)]
    for place, used in enumerate(series(found, Kind.USED).mean):
        if used is not None:
            assert sum(share.mean[place] or 0 for share in shares) == pytest.approx(used)
    assert sum(found.samples[gpu.pk]) == 360


def test_a_gap_is_a_gap(gpu: Gpu, recorder: Recorder, note: Note, clock: time_machine.Coordinates) -> None:
    for second in (0, 10, 40):
        note(second, 1000 + second, power_milliwatts=None)
    recorder.flush()
    found = history([gpu], NOON, NOON + timedelta(minutes=1), points=6)
    assert series(found, Kind.USED).mean == [1000, 1010, None, None, 1040, None]
    assert series(found, Kind.POWER).mean == [None] * 6
    assert found.samples[gpu.pk] == [1, 1, 0, 0, 1, 0]


def test_a_point_holds_least_mean_greatest_and_p95(
    gpu: Gpu, recorder: Recorder, note: Note, clock: time_machine.Coordinates
) -> None:
    for second in range(60):
        note(second, second)
    recorder.flush()
    used = series(history([gpu], NOON, NOON + timedelta(minutes=1), points=2), Kind.USED)
    assert (used.min, used.mean, used.max, used.p95) == ([0, 30], [14.5, 44.5], [29, 59], [28, 58])


def test_a_model_has_a_series_on_each_gpu_of_its_host(
    gpu: Gpu, recorder: Recorder, note: Note, llama: LoadedModel, clock: time_machine.Coordinates
) -> None:
    GpuFactory(host=gpu.host, index=1)
    note(0, 9000, models={llama: 4000}, others={"python": 600})
    recorder.flush()
    found = model_history(llama.endpoint, "llama3.1:8b", NOON, NOON + timedelta(minutes=1), points=6)
    assert [(each.gpu, each.key.name, each.mean[0]) for each in found.series] == [(gpu, "llama3.1:8b", 4000)]
    assert model_history(llama.endpoint, "another", NOON, NOON + timedelta(minutes=1)).series == []


def test_too_many_shares_are_left_out_and_counted(
    gpu: Gpu, recorder: Recorder, note: Note, clock: time_machine.Coordinates
) -> None:
    for second in range(MOST_SHARES + 5):
        note(second, 9000, others={f"program-{second}": 1000 + second})
    recorder.flush()
    found = history([gpu], NOON, NOON + timedelta(minutes=1))
    assert len([each for each in found.series if each.key.kind is Kind.OTHER]) == MOST_SHARES - 1
    assert found.left_out == 6
    assert found.series[4].key.kind is Kind.UNEXPLAINED


@pytest.mark.parametrize("days", [0, -1, 4000])
def test_a_span_that_makes_no_sense_is_refused(gpu: Gpu, clock: time_machine.Coordinates, days: int) -> None:
    with pytest.raises(Unanswerable):
        history([gpu], NOON, NOON + timedelta(days=days))


def test_nothing_is_known_before_the_first_sample(gpu: Gpu, clock: time_machine.Coordinates) -> None:
    assert history([gpu], NOON - timedelta(days=1), NOON).series == []
