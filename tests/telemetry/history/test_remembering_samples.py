"""Samples become one row for each GPU and minute: each sample once, however often and in whatever order it comes."""

from __future__ import annotations

import threading
from unittest.mock import Mock

import pytest
import time_machine
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from models_app.inventory.models import Gpu, LoadedModel
from models_app.probes.types import GpuState, HostSample
from models_app.simulation.hardware import SimulatedHost
from models_app.telemetry.collector import record_sample
from models_app.telemetry.history import recorder as recording
from models_app.telemetry.history.recorder import Recorder
from models_app.telemetry.history.store import seconds_of
from models_app.telemetry.history.tables import Table
from models_app.telemetry.models import SecondsChunk
from tests.factories import HostFactory
from tests.telemetry.history.conftest import NOON, Note

START = NOON.timestamp()
pytestmark = pytest.mark.usefixtures("clock", "db")


def kept(gpu: Gpu) -> Table:
    return seconds_of(gpu.pk, START - 86_400, START + 86_400)


def seconds(gpu: Gpu) -> list[float]:
    return [round(time - START, 3) for time in kept(gpu).times]


def test_a_minute_is_one_row(gpu: Gpu, recorder: Recorder, note: Note, llama: LoadedModel) -> None:
    for second in range(0, 120):
        note(second, 5000 + second, models={llama: 4000}, others={"python": 600})
    recorder.flush()
    assert SecondsChunk.objects.count() == 2
    table = kept(gpu)
    assert seconds(gpu) == list(range(120))
    assert table.columns["used"].tolist() == [5000 + second for second in range(120)]
    assert set(table.columns[f"model:{llama.endpoint_id}:llama3.1:8b"]) == {4000}
    assert set(table.columns["other:python"]) == {600}
    assert table.columns["unexplained:"].tolist() == [400 + second for second in range(120)]
    assert set(table.columns["power"]) == {200_000}


def test_figures_that_a_gpu_lacks_stay_unknown(gpu: Gpu, recorder: Recorder, note: Note) -> None:
    note(0, utilization_percent=None, power_milliwatts=None)
    recorder.flush()
    assert kept(gpu).columns["utilization"].tolist() == [-1]
    assert kept(gpu).columns["temperature"].tolist() == [60]


def test_the_same_sample_again_changes_nothing(gpu: Gpu, recorder: Recorder, note: Note) -> None:
    for _ in range(2):
        note(1)
        note(2)
    recorder.flush()
    SecondsChunk.objects.update(pending=False)
    note(1)
    recorder.flush()
    note(2, by=(restarted := Recorder()))
    restarted.flush()
    assert seconds(gpu) == [1, 2]
    assert not SecondsChunk.objects.get().pending


def test_late_samples_find_their_places(gpu: Gpu, recorder: Recorder, note: Note) -> None:
    for second in (5, 1, 3, 65, 2):
        note(second)
    recorder.flush()
    for second in (4, 0, 64):
        note(second)
    recorder.flush()
    assert seconds(gpu) == [0, 1, 2, 3, 4, 5, 64, 65]


def test_a_restarted_panel_adds_to_what_is_there(gpu: Gpu, recorder: Recorder, note: Note) -> None:
    note(1)
    recorder.flush()
    restarted = Recorder()
    for second in (2, 3):
        note(second, by=restarted)
        restarted.flush()
    note(4)
    recorder.flush()
    assert seconds(gpu) == [1, 2, 3, 4]


def test_a_machine_whose_clock_was_set_back_loses_nothing(gpu: Gpu, recorder: Recorder, note: Note) -> None:
    note(10, 1000, boot="boot-1", sequence=10)
    note(10, 2000, boot="boot-2", sequence=1)
    note(10, 3000, boot="boot-2", sequence=2)
    recorder.flush()
    assert sorted(kept(gpu).columns["used"]) == [1000, 2000, 3000]


def test_a_clock_far_ahead_is_not_believed(gpu: Gpu, recorder: Recorder, note: Note) -> None:
    note(3700)
    note(-40 * 86_400)
    recorder.flush()
    assert not SecondsChunk.objects.exists()


def test_a_lost_gpu_leaves_a_gap(gpu: Gpu, recorder: Recorder, note: Note) -> None:
    note(1)
    note(2, state=GpuState.LOST)
    note(3)
    recorder.flush()
    assert seconds(gpu) == [1, 3]


def test_a_host_writes_nothing_for_the_gpus_of_another(gpu: Gpu, recorder: Recorder, note: Note) -> None:
    note(1)
    Gpu.objects.update(host=HostFactory())
    recorder.flush()
    assert not SecondsChunk.objects.exists()


def test_a_flush_is_a_few_statements_however_many_gpus(gpu: Gpu, recorder: Recorder, note: Note) -> None:
    note(1)
    with CaptureQueriesContext(connection) as queries:
        recorder.flush()
    writes = [query["sql"] for query in queries if query["sql"].startswith(("INSERT", "UPDATE"))]
    assert len(writes) == 1
    assert len(queries) <= 6
    with CaptureQueriesContext(connection) as queries:
        recorder.flush()
    assert len(queries) == 0


def test_what_cannot_be_written_is_kept_for_the_next_time(
    gpu: Gpu, recorder: Recorder, note: Note, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(1)
    with monkeypatch.context() as patch:
        patch.setattr(recording, "pack", Mock(side_effect=DatabaseError("disk full")))
        with pytest.raises(DatabaseError):
            recorder.flush()
    note(2)
    recorder.flush()
    assert seconds(gpu) == [1, 2]


def test_a_damaged_row_is_written_anew(gpu: Gpu, recorder: Recorder, note: Note) -> None:
    note(1)
    recorder.flush()
    SecondsChunk.objects.update(payload=b"rubbish")
    assert seconds(gpu) == []
    note(2)
    recorder.flush()
    assert seconds(gpu) == [1, 2]


def test_noting_writes_nothing_by_itself(recorder: Recorder, note: Note) -> None:
    with CaptureQueriesContext(connection) as queries:
        note(1)
    assert len(queries) == 0


def test_noting_writes_where_nobody_else_does(
    gpu: Gpu, recorder: Recorder, note: Note, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(1)
    monkeypatch.setattr(recording, "OVERDUE_SECONDS", -1e9)
    note(2)
    assert seconds(gpu) == [1, 2]


@pytest.mark.django_db(transaction=True)
def test_recorders_at_the_same_time_lose_nothing(gpu: Gpu, note: Note) -> None:
    recorders = [Recorder() for _ in range(4)]

    def work(number: int) -> None:
        for second in range(number, 40, 4):
            note(second, by=recorders[number])
            recorders[number].flush()
        connection.close()

    note(59, by=recorders[0])
    recorders[0].flush()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seconds(gpu) == [*range(40), 59]


def test_every_recorded_sample_is_remembered_even_a_late_one(
    simulated_host: SimulatedHost, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, clock: time_machine.Coordinates
) -> None:
    monkeypatch.setattr("models_app.telemetry.collector.recorder", recorder)
    host = HostFactory(name="gpu-1")
    samples: list[HostSample] = []
    for _ in range(3):
        clock.shift(1)
        samples.append(simulated_host.sample())
    assert [record_sample(host, samples[at]) for at in (0, 2, 1, 1)] == [True, True, False, False]
    recorder.flush()
    assert len(kept(Gpu.objects.get())) == 3


def test_what_comes_before_its_gpu_has_a_row_is_written_once_it_has(gpu: Gpu, recorder: Recorder, note: Note) -> None:
    note(1)
    elsewhere = HostFactory()
    Gpu.objects.filter(pk=gpu.pk).update(host=elsewhere)
    recorder.flush()
    assert seconds(gpu) == []
    Gpu.objects.filter(pk=gpu.pk).update(host=gpu.host)
    recorder.flush()
    assert seconds(gpu) == [1]
