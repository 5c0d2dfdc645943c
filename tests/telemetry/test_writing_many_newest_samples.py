"""With many hosts the newest samples take turns; what has changed does not wait."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from models_app.inventory.models import Gpu
from models_app.probes.types import GpuSample, GpuState, HostSample
from models_app.telemetry import newest as module
from models_app.telemetry.known import Known, Newest
from models_app.telemetry.models import LatestSample
from models_app.telemetry.newest import store_newest
from tests.factories import HostFactory

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> list[Newest]:
    """Three hosts, where more than two are many, and a row's turn does not come again by itself."""
    monkeypatch.setattr(module, "MANY", 2)
    monkeypatch.setattr(module, "LAG_SECONDS", math.inf)
    return [Newest(host := HostFactory(), sample(host.name, 0), {}, [], Known()) for _ in range(3)]


def sample(name: str, second: int) -> HostSample:
    gpu = GpuSample(f"GPU-{name}", 0, "GPU", total_bytes=10_000, used_bytes=100 + second)
    return HostSample("boot", second + 1, NOON + timedelta(seconds=second), (gpu,))


def later(hosts: list[Newest], second: int) -> list[Newest]:
    return [replace(each, sample=sample(each.host.name, second)) for each in hosts]


def store(items: list[Newest]) -> int:
    with transaction.atomic():
        return store_newest(items)


def test_each_host_gets_its_row_and_its_gpus_at_once(hosts: list[Newest]) -> None:
    assert store(hosts) == 3
    assert LatestSample.objects.count() == Gpu.objects.count() == 3


def test_rows_of_many_hosts_wait_their_turn_and_lose_no_point_of_their_rings(hosts: list[Newest]) -> None:
    store(hosts)
    assert store(later(hosts, 1)) == 0
    for each in hosts:
        each.known.written = -math.inf
    assert store(later(hosts, 2)) == 3
    rings = {tuple(points) for row in LatestSample.objects.all() for points in row.recent.values()}
    assert (100, 101, 102) in rings


def test_a_gpu_that_is_lost_is_told_at_once(hosts: list[Newest]) -> None:
    store(hosts)
    news = later(hosts, 1)
    lost = replace(news[0].sample.gpus[0], state=GpuState.LOST, reason="Xid 79")
    news[0] = replace(news[0], sample=replace(news[0].sample, gpus=(lost,)))
    assert store(news) == 1
    assert Gpu.objects.get(host=news[0].host).state == "lost"


def test_the_number_of_queries_does_not_depend_on_the_number_of_hosts(hosts: list[Newest]) -> None:
    store(hosts)
    counts = []
    for second, some in ((10, hosts[:1]), (20, hosts[:2])):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            store(later(some, second))
        counts.append(len(queries))
    assert counts[0] == counts[1]
