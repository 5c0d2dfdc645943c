"""The panel's own host is sampled through the real driver binding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from models_app.inventory.hosts import ensure_local_host
from models_app.inventory.models import Gpu, Host
from models_app.telemetry import sources
from models_app.telemetry.collector import Collector
from models_app.telemetry.latest import latest

GIB_IN_MB = 1024


@pytest.fixture
async def here(transactional_db: None, nvml_stub: Any) -> Host:
    return await sync_to_async(ensure_local_host)()


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    yield
    sources.close()


async def test_the_local_gpus_are_recorded(here: Host, nvml_stub: Any) -> None:
    nvml_stub.set(count=1, gpu0={"total_mb": 24 * GIB_IN_MB, "used_mb": 10 * GIB_IN_MB})
    await Collector().tick()
    gpu = await Gpu.objects.aget()
    found = await sync_to_async(latest)(here)
    assert found
    assert (gpu.total_bytes, found.sample.gpus[0].used_bytes) == (24 * 1024**3, 10 * 1024**3)
    assert not found.is_stale


async def test_a_machine_without_a_driver_says_so(here: Host, nvml_stub: Any) -> None:
    nvml_stub.unload_driver()
    await Collector().tick()
    await here.arefresh_from_db()
    assert "not loaded" in here.gpu_problem
    assert not await Gpu.objects.aexists()


async def test_the_driver_is_opened_once(here: Host, nvml_stub: Any) -> None:
    nvml_stub.set(count=1, gpu0={"used_mb": 1})
    collector = Collector()
    await collector.tick()
    nvml_stub.take_calls()
    await collector.tick()
    calls = nvml_stub.take_calls()
    assert calls
    assert not any("Init" in call or "HandleByIndex" in call for call in calls)
