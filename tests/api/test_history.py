"""``/telemetry/history``: the past as JSON and as CSV, and clear errors for what cannot be asked."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from models_app.inventory.models import Gpu, LoadedModel
from models_app.operations.models import Operation
from models_app.probes.attribution import Coverage
from models_app.probes.types import GpuSample, HostSample
from models_app.telemetry.division import By, GpuShares, ModelShare
from models_app.telemetry.history.recorder import Recorder
from tests.api.conftest import Script
from tests.factories import EndpointFactory, GpuFactory, LoadedModelFactory, OperationFactory

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE = {"since": "2026-11-21T12:00:00Z", "until": "2026-11-21T12:01:00Z", "points": 6}


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Coordinates]:
    with time_machine.travel(NOON + timedelta(minutes=5), tick=False) as clock:
        yield clock


@pytest.fixture
def gpu(db: None) -> Gpu:
    return GpuFactory(host__name="atlas", uuid="GPU-1")


@pytest.fixture
def llama(gpu: Gpu) -> LoadedModel:
    return LoadedModelFactory(endpoint=EndpointFactory(host=gpu.host, name="atlas-ollama"), name="llama3.1:8b")


@pytest.fixture
def minute(gpu: Gpu, llama: LoadedModel) -> None:
    """A minute with a sample every ten seconds but one; a program whose name looks like a formula."""
    recorder = Recorder()
    for second in (0, 10, 20, 40, 50):
        measured = GpuSample(gpu.uuid, 0, "RTX", used_bytes=9000 + second, utilization_percent=33, power_milliwatts=250_500)
        shares = GpuShares(gpu.uuid, 9000, {llama.pk: ModelShare(4000, By.PROCESS)}, {"=cmd()": 500}, 4500, Coverage.FULL)
        sample = HostSample("boot", second + 1, NOON + timedelta(seconds=second), (measured,))
        recorder.note(gpu.host, sample, {gpu.uuid: shares}, [llama])
    recorder.flush()


def by_kind(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {series["kind"]: series for series in answer["series"]}


@pytest.mark.usefixtures("minute")
def test_a_gpus_past_has_its_figures_and_whose_the_bytes_were(reader: Script, gpu: Gpu, llama: LoadedModel) -> None:
    for name in ("GPU-1", str(gpu.pk)):
        answer = reader.get("telemetry/history", gpu=name, **MINUTE).json()
        assert (answer["step_seconds"], answer["resolution_seconds"]) == (10, 1)
        assert answer["times"] == [NOON.timestamp() + second for second in range(0, 60, 10)]
        [shown] = answer["gpus"]
        assert (shown["uuid"], shown["host"], shown["samples"]) == ("GPU-1", "atlas", [1, 1, 1, 0, 1, 1])
        series = by_kind(answer)
        assert series["used_bytes"]["mean"] == [9000, 9010, 9020, None, 9040, 9050]
        assert series["utilization_percent"]["max"] == [33, 33, 33, None, 33, 33]
        assert series["temperature_celsius"]["p95"] == [None] * 6
        assert series["power_milliwatts"]["min"][0] == 250_500
        model = series["model_bytes"]
        assert (model["name"], model["endpoint"], model["endpoint_id"]) == (
            "llama3.1:8b",
            "atlas-ollama",
            llama.endpoint_id,
        )
        assert model["mean"] == [4000, 4000, 4000, None, 4000, 4000]


@pytest.mark.usefixtures("minute")
def test_a_models_past_has_a_series_on_each_gpu(reader: Script, llama: LoadedModel) -> None:
    for endpoint in ("atlas-ollama", str(llama.endpoint_id)):
        answer = reader.get("telemetry/history", model="llama3.1:8b", endpoint=endpoint, **MINUTE).json()
        assert [(each["kind"], each["gpu"]) for each in answer["series"]] == [("model_bytes", "GPU-1")]
    assert reader.get("telemetry/history", model="never seen", endpoint="atlas-ollama").json()["series"] == []


@pytest.mark.usefixtures("minute")
def test_several_gpus_or_all_of_a_host_are_answered_at_once(reader: Script, gpu: Gpu) -> None:
    second = GpuFactory(host=gpu.host, index=1, uuid="GPU-2")
    for query in ({"gpu": ["GPU-1", str(second.pk), "GPU-1"]}, {"host": "atlas"}, {"host": str(gpu.host_id)}):
        answer = reader.get("telemetry/history", **query, **MINUTE).json()
        assert [(each["uuid"], sum(each["samples"])) for each in answer["gpus"]] == [("GPU-1", 5), ("GPU-2", 0)]
        assert {series["gpu"] for series in answer["series"]} == {"GPU-1"}


def test_many_gpus_share_the_points_and_too_many_are_refused(reader: Script, gpu: Gpu) -> None:
    GpuFactory.create_batch(63, host=gpu.host)
    answer = reader.get("telemetry/history", host="atlas", points=2000).json()
    assert (len(answer["gpus"]), len(answer["times"])) == (64, 180)
    GpuFactory(host=gpu.host)
    refused = reader.get("telemetry/history", host="atlas")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "host")


@pytest.mark.usefixtures("minute")
def test_csv_has_a_line_for_each_point_and_no_formula(reader: Script) -> None:
    answer = reader.get("telemetry/history", gpu="GPU-1", format="csv", **MINUTE)
    assert answer["Content-Type"] == "text/csv"
    assert "attachment" in answer["Content-Disposition"]
    lines = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert len(lines) == 5 * 6
    used = next(line for line in lines if line["series"] == "used_bytes" and line["time"] == "2026-11-21T12:00:10+00:00")
    assert (used["samples"], used["min"], used["mean"], used["max"], used["p95"]) == (
        "1",
        "9010.0",
        "9010.0",
        "9010.0",
        "9010.0",
    )
    assert {line["name"] for line in lines if line["series"] == "other_bytes"} == {"'=cmd()"}


def test_operations_of_the_span_are_marks(reader: Script, gpu: Gpu, llama: LoadedModel) -> None:
    def operation(minute: int, **about: Any) -> Operation:
        at = NOON + timedelta(minutes=minute)
        return OperationFactory(
            **{"endpoint": llama.endpoint, "started_at": at, "state": "succeeded", "finished_at": at} | about
        )

    wanted = operation(1)
    operation(-90)
    operation(1, kind="pull")
    operation(1, endpoint=EndpointFactory())
    other = operation(2, kind="unload", model_name="qwen3:14b")
    marks = reader.get("telemetry/history", gpu="GPU-1").json()["operations"]
    assert [(mark["id"], mark["kind"]) for mark in marks] == [(other.pk, "unload"), (wanted.pk, "load")]
    assert marks[1]["started"] == (NOON + timedelta(minutes=1)).timestamp()
    of_model = reader.get("telemetry/history", model="llama3.1:8b", endpoint="atlas-ollama").json()["operations"]
    assert [mark["id"] for mark in of_model] == [wanted.pk]


def test_the_last_hour_is_told_unless_asked_otherwise(reader: Script, gpu: Gpu) -> None:
    answer = reader.get("telemetry/history", gpu=gpu.uuid).json()
    assert (answer["since"], answer["until"]) == ("2026-11-21T11:05:00+00:00", "2026-11-21T12:05:00+00:00")
    assert len(answer["times"]) == 600
    assert answer["series"] == []


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ({}, 422, "gpu"),
        ({"gpu": "GPU-1", "model": "llama3.1:8b"}, 422, "gpu"),
        ({"model": "llama3.1:8b"}, 422, "gpu"),
        ({"gpu": "GPU-1", "host": "atlas"}, 422, "gpu"),
        ({"gpu": ["GPU-1"] * 65}, 422, "gpu"),
        ({"gpu": ["GPU-1", "GPU-7"]}, 404, None),
        ({"host": "nowhere"}, 404, None),
        ({"gpu": "GPU-7"}, 404, None),
        ({"gpu": "99999999999999999999999"}, 404, None),
        ({"gpu": "²"}, 404, None),
        ({"gpu": "a\0b"}, 422, "gpu"),
        ({"model": "llama3.1:8b", "endpoint": "nowhere"}, 404, None),
        ({"gpu": "GPU-1", "since": "yesterday"}, 422, "since"),
        ({"gpu": "GPU-1", "since": "2026-11-21T13:00:00Z"}, 422, "since"),
        ({"gpu": "GPU-1", "since": "1999-01-01T00:00:00Z"}, 422, "since"),
        ({"gpu": "GPU-1", "since": "0001-01-01T00:00:00Z"}, 422, "since"),
        ({"gpu": "GPU-1", "until": "9999-12-31T23:59:59-23:00"}, 422, "since"),
        ({"gpu": "GPU-1", "points": "0"}, 422, "points"),
        ({"gpu": "GPU-1", "points": "1000000"}, 422, "points"),
        ({"gpu": "GPU-1", "format": "xml"}, 422, "format"),
        ({"gpu": "GPU-1", "colour": "red"}, 422, "colour"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(
    reader: Script, llama: LoadedModel, query: dict[str, str], status: int, field: str | None
) -> None:
    answer = reader.get("telemetry/history", **query)
    problem = answer.json()
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert [fault["field"] for fault in problem.get("errors", [])] == ([field] if field else [])


def test_it_is_for_members(client: Client, gpu: Gpu, as_member: Client) -> None:
    assert client.get("/api/v1/telemetry/history", {"gpu": gpu.uuid}).status_code == 401
    assert as_member.get("/api/v1/telemetry/history", {"gpu": gpu.uuid}).status_code == 200
