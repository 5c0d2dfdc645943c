"""A GPU whose samples are made up, second by second, and a recorder that remembers them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from models_app.inventory.models import Endpoint, Gpu, LoadedModel
from models_app.probes.attribution import Coverage
from models_app.probes.types import GpuSample, HostSample
from models_app.telemetry.division import By, GpuShares, ModelShare
from models_app.telemetry.history.recorder import Recorder
from tests.factories import EndpointFactory, GpuFactory, LoadedModelFactory

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
Note = Callable[..., None]


@pytest.fixture
def gpu(db: None) -> Gpu:
    return GpuFactory(host__name="testbed", uuid="GPU-1")


@pytest.fixture
def endpoint(gpu: Gpu) -> Endpoint:
    return EndpointFactory(host=gpu.host, name="ollama")


@pytest.fixture
def llama(endpoint: Endpoint) -> LoadedModel:
    return LoadedModelFactory(endpoint=endpoint, name="llama3.1:8b")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def clock() -> time_machine.Coordinates:
    """Wall-clock time, which stands at noon until a test moves it."""
    with time_machine.travel(NOON, tick=False) as clock:
        yield clock


@pytest.fixture
def note(gpu: Gpu, recorder: Recorder) -> Note:
    """Notes a sample: seconds after noon, used bytes, and what differs from a quiet GPU."""

    def note(
        second: float,
        used: int = 1000,
        *,
        boot: str = "boot-1",
        sequence: int | None = None,
        models: Mapping[LoadedModel, int] | None = None,
        others: Mapping[str, int] | None = None,
        by: Recorder = recorder,
        **figures: object,
    ) -> None:
        given = {"utilization_percent": 50, "temperature_celsius": 60, "power_milliwatts": 200_000} | figures
        measured = GpuSample(gpu.uuid, 0, "GPU", used_bytes=used, **given)  # type: ignore[arg-type]
        number = round(second * 10) if sequence is None else sequence
        sample = HostSample(boot, number, NOON + timedelta(seconds=second), (measured,))
        shares = {row.pk: ModelShare(count, By.PROCESS) for row, count in (models or {}).items()}
        rest = used - sum((models or {}).values()) - sum((others or {}).values())
        divided = GpuShares(gpu.uuid, used, shares, dict(others or {}), rest, Coverage.FULL)
        by.note(gpu.host, sample, {gpu.uuid: divided}, models or {})

    return note
