"""``/telemetry/history/summary``: every GPU's past in a few numbers, exactly counted, in pages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from models_app.inventory.models import Gpu
from models_app.probes.types import GpuSample, HostSample
from models_app.telemetry.history.maintenance import maintain
from models_app.telemetry.history.recorder import Recorder
from tests.api.conftest import Script
from tests.factories import GpuFactory, HostFactory

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Coordinates]:
    with time_machine.travel(NOON + timedelta(minutes=10), tick=False) as clock:
        yield clock


@pytest.fixture
def gpus(db: None) -> list[Gpu]:
    """Three; the first has a sample a second for 100 s from 11:59:30 on, the second one sample, the third none."""
    host = HostFactory(name="atlas")
    gpus: list[Gpu] = [GpuFactory(host=host, uuid=f"GPU-{number}", index=number) for number in range(3)]
    recorder = Recorder()
    for second in range(100):
        measured = [GpuSample("GPU-0", 0, "RTX", used_bytes=1000 + second, utilization_percent=second)]
        measured += [GpuSample("GPU-1", 1, "RTX", used_bytes=7)] if second == 60 else []
        at = NOON + timedelta(seconds=second - 30)
        recorder.note(host, HostSample("boot", second + 1, at, tuple(measured)), {}, [])
    recorder.flush()
    return gpus


def summary(reader: Script, **query: Any) -> dict[str, Any]:
    answer = reader.get("telemetry/history/summary", **query)
    assert answer.status_code == 200, answer.content
    told: dict[str, Any] = answer.json()
    return told


@pytest.mark.usefixtures("gpus")
def test_every_gpu_has_its_count_and_its_figures(reader: Script) -> None:
    told = summary(reader)
    assert told["resolution_seconds"] == 10
    first, second, third = told["items"]
    assert [each["samples"] for each in told["items"]] == [100, 1, 0]
    assert (first["uuid"], first["host"], first["index"]) == ("GPU-0", "atlas", 0)
    assert first["used_bytes"] == {"min": 1000, "mean": 1049.5, "max": 1099, "p95": 1099}
    assert first["temperature_celsius"] is None
    assert (second["used_bytes"]["max"], second["utilization_percent"]) == (7, None)
    assert third["used_bytes"] is None


@pytest.mark.usefixtures("gpus")
def test_a_short_span_is_counted_by_the_sample_and_its_p95_is_exact(reader: Script) -> None:
    told = summary(reader, since="2026-11-21T11:59:55.500Z", until="2026-11-21T12:00:15.500Z")
    assert told["resolution_seconds"] == 1
    assert told["since"].startswith("2026-11-21T11:59:55.5")
    first = told["items"][0]
    assert first["samples"] == 20
    assert first["utilization_percent"] == {"min": 26, "mean": 35.5, "max": 45, "p95": 44}


@pytest.mark.usefixtures("gpus")
def test_what_is_rolled_up_counts_the_same(reader: Script, clock: time_machine.Coordinates) -> None:
    before = summary(reader, since="2026-11-21T11:00:00Z", until="2026-11-21T13:00:00Z")
    clock.shift(timedelta(hours=2))
    maintain()
    after = summary(reader, since="2026-11-21T11:00:00Z", until="2026-11-21T13:00:00Z")
    assert (before["items"], before["resolution_seconds"]) == (after["items"], after["resolution_seconds"])
    year = summary(reader, since="2026-01-01T00:00:00Z")
    assert year["resolution_seconds"] == 3600
    assert [each["samples"] for each in year["items"]] == [100, 1, 0]


@pytest.mark.usefixtures("gpus")
def test_it_pages_filters_and_sorts_as_every_list(reader: Script) -> None:
    page = summary(reader, per_page=1, page=2, sort="-index", since="2026-11-21T12:00:00Z")
    assert [each["uuid"] for each in page["items"]] == ["GPU-1"]
    assert page["total"] == 3
    assert "since=2026" in page["next"]
    assert [each["uuid"] for each in summary(reader, uuid="GPU-2")["items"]] == ["GPU-2"]
    assert summary(reader, host="another")["items"] == []


def queries(reader: Script, **query: Any) -> int:
    with CaptureQueriesContext(connection) as captured:
        summary(reader, **query)
    return len(captured)


@pytest.mark.usefixtures("gpus")
def test_the_number_of_queries_does_not_go_by_that_of_gpus(reader: Script) -> None:
    queries(reader)
    for span in ({}, {"since": "2026-11-21T11:59:00Z", "until": "2026-11-21T12:10:00Z"}):
        assert queries(reader, per_page=1, **span) == queries(reader, **span)


@pytest.mark.usefixtures("gpus")
def test_what_cannot_be_asked_is_refused_by_name(reader: Script) -> None:
    for query, field in (
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-11-21T12:00:00Z", "until": "2026-11-21T12:00:00Z"}, "since"),
        ({"until": "9999-12-31T23:59:59-23:00"}, "since"),
        ({"points": "2"}, "points"),
    ):
        answer = reader.get("telemetry/history/summary", **query)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
