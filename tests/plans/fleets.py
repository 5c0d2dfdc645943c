"""Fleets as rows with samples, for tests of plans: hosts of GPUs with an Ollama, and models installed and loaded there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone

from models_app.inventory.models import Endpoint, Gpu, Host, LoadedModel
from models_app.probes.attribution import Coverage
from models_app.probes.types import GpuSample, HostSample, RamSample
from models_app.telemetry.division import By, GpuShares, ModelShare
from models_app.telemetry.models import LatestSample
from models_app.telemetry.samples import pack
from tests.factories import (
    GIB,
    EndpointFactory,
    GpuFactory,
    HostFactory,
    InstallationFactory,
    LoadedModelFactory,
    VariantFactory,
)

RESERVED = GIB // 2
AHEAD = timedelta(minutes=10)
"""How far in the future samples are taken: they stay fresh however slow the machine is."""


@dataclass
class OneHost:
    """A host of equal GPUs, with one endpoint."""

    host: Host
    gpus: list[Gpu]
    endpoint: Endpoint

    def install(self, name: str, **variant: Any) -> None:
        """An 8B model in Q4_K_M, unless ``variant`` says otherwise."""
        InstallationFactory(variant=VariantFactory(name=name, **variant), endpoint=self.endpoint, name=name)

    def load(self, name: str, gpu: int = 0, gib: float = 6, **row: Any) -> LoadedModel:
        """The model is in memory on one GPU; ``sample`` makes it seen."""
        given = {"context_length": 8192, "parallel": 1, "attributed_by": "process"} | row
        return LoadedModelFactory(
            endpoint=self.endpoint, name=name, gpu_bytes={self.gpus[gpu].uuid: int(gib * GIB)}, **given
        )

    def sample(self, others_gib: Sequence[float] = (), ram_gib: int = 64) -> None:
        """The newest sample: every loaded model's bytes, and those of other programs by GPU."""
        now = timezone.now() + AHEAD
        others = {gpu.uuid: int(gib * GIB) for gpu, gib in zip(self.gpus, others_gib, strict=False)}
        shares = {gpu.uuid: self._shares(gpu, others.get(gpu.uuid, 0)) for gpu in self.gpus}
        seen = HostSample(
            "boot",
            1,
            now,
            tuple(_gpu_sample(gpu, shares[gpu.uuid].used_bytes) for gpu in self.gpus),
            RamSample(ram_gib * GIB, (ram_gib - 4) * GIB),
        )
        LatestSample.objects.update_or_create(
            host=self.host,
            defaults={
                "boot_id": "boot",
                "sequence": 1,
                "taken_at": now,
                "payload": pack(seen, shares),
                "recent": {},
            },
        )

    def _shares(self, gpu: Gpu, others: int) -> GpuShares:
        rows = LoadedModel.objects.filter(endpoint__host=self.host)
        held = {row.pk: ModelShare(row.gpu_bytes[gpu.uuid], By.PROCESS) for row in rows if gpu.uuid in row.gpu_bytes}
        used = others + sum(share.bytes for share in held.values())
        return GpuShares(gpu.uuid, used, held, {"python3": others} if others else {}, 0, Coverage.FULL)


def one_host(gpus: int = 1, gib: int = 24, **endpoint: Any) -> OneHost:
    """A host with these GPUs and an Ollama that honours everything that Ollama can."""
    host = HostFactory()
    cards = [
        GpuFactory(host=host, index=index, total_bytes=gib * GIB, driver_reserved_bytes=RESERVED) for index in range(gpus)
    ]
    made = OneHost(host, cards, EndpointFactory(host=host, **endpoint))
    made.sample()
    return made


def _gpu_sample(gpu: Gpu, used: int) -> GpuSample:
    return GpuSample(
        uuid=gpu.uuid,
        index=gpu.index,
        name=gpu.name,
        total_bytes=gpu.total_bytes,
        driver_reserved_bytes=gpu.driver_reserved_bytes,
        used_bytes=used,
        free_bytes=gpu.total_bytes - gpu.driver_reserved_bytes - used,
    )
