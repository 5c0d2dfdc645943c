"""A machine's recommended configuration follows from the memory that it reports."""

from __future__ import annotations

import pytest
from django.utils import timezone

from models_app.inventory.models import Host
from models_app.operations.hardware import tiers_of
from models_app.probes.types import HostSample, RamSample
from models_app.telemetry.models import LatestSample
from models_app.telemetry.samples import pack
from tests.factories import GpuFactory, HostFactory

pytestmark = pytest.mark.django_db
GIB = 1024**3
MIB = 1024**2


def tier_name(host: Host) -> str | None:
    found = tiers_of(Host.objects.prefetch_related("gpus")).get(host.pk)
    return found.name if found else None


def test_the_memory_of_all_gpus_counts_together() -> None:
    host = HostFactory()
    for index in range(2):
        GpuFactory(host=host, index=index, total_bytes=24_564 * MIB)
    assert tier_name(host) == "48 GB of VRAM"
    GpuFactory(host=host, index=2, total_bytes=80 * GIB, present=False)
    assert tier_name(host) == "48 GB of VRAM"


def test_unified_memory_is_a_kind_of_its_own() -> None:
    host = GpuFactory(pool="unified", total_bytes=119 * GIB).host
    assert tier_name(host) == "Unified, 64 GB"


def test_without_a_gpu_the_ram_decides_once_it_was_measured() -> None:
    host = HostFactory()
    assert tier_name(host) is None
    sample = HostSample("boot", 1, timezone.now(), (), RamSample(31 * GIB, 20 * GIB))
    LatestSample.objects.create(host=host, boot_id="boot", sequence=1, taken_at=sample.taken_at, payload=pack(sample))
    assert tier_name(host) == "CPU, 32 GB RAM"
