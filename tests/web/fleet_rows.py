"""A small fleet as rows, with a sample, for the tests of the Fleet page and its socket."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.utils import timezone

from models_app.inventory.models import Endpoint, Gpu, Host, LoadedModel, Residency
from models_app.probes.attribution import Coverage
from models_app.probes.types import GpuSample, HostSample, RamSample
from models_app.telemetry.collector import record_newest
from models_app.telemetry.division import By, GpuShares, ModelShare, Shares
from models_app.telemetry.known import Known, Newest
from models_app.telemetry.models import LatestSample
from models_app.telemetry.samples import pack
from models_app.telemetry.showing import show
from tests.factories import (
    GIB,
    EndpointFactory,
    GpuFactory,
    HostFactory,
    InstallationFactory,
    LoadedModelFactory,
    VariantFactory,
)


@dataclass
class SmallFleet:
    """One host, one GPU of 24 GiB, one endpoint, one loaded model of 6 GiB."""

    host: Host
    gpu: Gpu
    endpoint: Endpoint
    loaded: LoadedModel
    known: Known = field(default_factory=Known)


def small_fleet(name: str = "llama3.1:8b", loaded_by: str | None = "ada", **loaded: object) -> SmallFleet:
    host = HostFactory()
    gpu = GpuFactory(host=host)
    endpoint = EndpointFactory(host=host)
    InstallationFactory(variant=VariantFactory(name=name), endpoint=endpoint, name=name)
    InstallationFactory(variant=VariantFactory(name="phi4:14b"), endpoint=endpoint, name="phi4:14b")
    row = LoadedModelFactory(
        endpoint=endpoint,
        name=name,
        gpu_bytes={gpu.uuid: 6 * GIB},
        attributed_by="process",
        **({"context_length": 8192} | loaded),
    )
    if loaded_by:
        Residency.objects.create(endpoint=endpoint, name=name, requested_by=loaded_by, since=timezone.now())
    fleet = SmallFleet(host, gpu, endpoint, row)
    record(fleet, used_bytes=7 * GIB)
    return fleet


class FixedProbe:
    """A probe that always sees the same."""

    def __init__(self, sample: HostSample) -> None:
        self._sample = sample

    def sample(self) -> HostSample:
        return self._sample

    def close(self) -> None:
        pass


def measured(fleet: SmallFleet, used_bytes: int, *, model_bytes: int = 6 * GIB, **gpu: object) -> tuple[HostSample, Shares]:
    """A sample as of now: the loaded model, half a GiB of python3, the rest unexplained."""
    free_bytes = fleet.gpu.total_bytes - fleet.gpu.driver_reserved_bytes - used_bytes
    sample = GpuSample(
        uuid=fleet.gpu.uuid,
        index=0,
        name=fleet.gpu.name,
        total_bytes=fleet.gpu.total_bytes,
        driver_reserved_bytes=fleet.gpu.driver_reserved_bytes,
        used_bytes=used_bytes,
        free_bytes=free_bytes,
        **gpu,  # type: ignore[arg-type]
    )
    others = {"python3": GIB // 2}
    models = {fleet.loaded.pk: ModelShare(model_bytes, By.PROCESS)}
    rest = used_bytes - model_bytes - GIB // 2
    shares = {fleet.gpu.uuid: GpuShares(fleet.gpu.uuid, used_bytes, models, others, rest, Coverage.FULL)}
    return HostSample("boot", 1, timezone.now(), (sample,), RamSample(64 * GIB, 48 * GIB)), shares


def record(fleet: SmallFleet, used_bytes: int, *, model_bytes: int = 6 * GIB, **gpu: object) -> HostSample:
    """Write the newest sample as another process does: whoever shows it hears of it by ``publish`` alone."""
    whole, shares = measured(fleet, used_bytes, model_bytes=model_bytes, **gpu)
    LatestSample.objects.update_or_create(
        host=fleet.host,
        defaults={
            "boot_id": whole.boot_id,
            "sequence": whole.sequence,
            "taken_at": whole.taken_at,
            "payload": pack(whole, shares),
            "recent": {fleet.gpu.uuid: [GIB, 2 * GIB, used_bytes]},
        },
    )
    return whole


def report(fleet: SmallFleet, used_bytes: int, **gpu: object) -> None:
    """Show the newest sample and write it, as this process's recorders do."""
    whole, shares = measured(fleet, used_bytes, **gpu)
    newest = Newest(fleet.host, whole, shares, [fleet.loaded], fleet.known)
    show(newest)
    record_newest(newest)
