"""``/hosts`` and ``/gpus``: the machines and their devices."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Router
from pydantic import BaseModel

from models_app.api.paging import Listing, Page
from models_app.estimator.tiers import Tier
from models_app.inventory.models import Gpu, Host
from models_app.operations.hardware import tiers_of
from models_app.probes.types import GpuState, PoolKind


class GpuOut(BaseModel):
    """A GPU. Bytes are whole numbers; ``driver_reserved_bytes`` is what NVML holds back."""

    id: int
    uuid: str
    host: str
    host_id: int
    index: int
    name: str
    pool: str
    total_bytes: int
    driver_reserved_bytes: int
    state: str
    state_reason: str
    present: bool


class HostOut(BaseModel):
    """A machine with its GPUs; ``tier`` names the recommended configuration that is about it."""

    id: int
    name: str
    is_local: bool
    tags: list[str]
    driver_version: str
    gpu_problem: str
    last_sample_at: datetime | None
    tier: str | None
    gpus: list[GpuOut]


hosts = Router(tags=["hosts"])
gpus = Router(tags=["gpus"])

HOSTS = Listing[Host](
    sorts={"id": "id", "name": "name", "created_at": "created_at", "last_sample_at": "last_sample_at"},
    default_sort="name",
    filters={"name": "name", "is_local": "is_local"},
    searches=("name",),
)
GPUS = Listing[Gpu](
    sorts={"id": "id", "host": "host__name", "index": "index", "name": "name", "total_bytes": "total_bytes"},
    default_sort="host,index",
    filters={
        "host": "host__name",
        "host_id": "host_id",
        "uuid": "uuid",
        "state": "state",
        "pool": "pool",
        "present": "present",
    },
    searches=("name", "uuid", "host__name"),
    choices={"state": frozenset(GpuState), "pool": frozenset(PoolKind)},
)


@hosts.get("", response=Page[HostOut], summary="List hosts", openapi_extra=HOSTS.describe())
def list_hosts(request: HttpRequest) -> dict[str, Any]:
    page = HOSTS.page(request, _hosts(), lambda host: host)
    found = tiers_of(page["items"])
    return {**page, "items": [host_out(host, found.get(host.pk)) for host in page["items"]]}


@hosts.get("/{int:host_id}", response=HostOut, summary="One host")
def get_host(request: HttpRequest, host_id: int) -> HostOut:
    host = get_object_or_404(_hosts(), pk=host_id)
    return host_out(host, tiers_of([host]).get(host_id))


@gpus.get("", response=Page[GpuOut], summary="List GPUs", openapi_extra=GPUS.describe())
def list_gpus(request: HttpRequest) -> dict[str, Any]:
    return GPUS.page(request, Gpu.objects.select_related("host"), gpu_out)


@gpus.get("/{int:gpu_id}", response=GpuOut, summary="One GPU")
def get_gpu(request: HttpRequest, gpu_id: int) -> GpuOut:
    return gpu_out(get_object_or_404(Gpu.objects.select_related("host"), pk=gpu_id))


def _hosts() -> QuerySet[Host]:
    return Host.objects.prefetch_related("gpus")


def gpu_out(gpu: Gpu) -> GpuOut:
    """The row as the API shows it."""
    return GpuOut(
        id=gpu.pk,
        uuid=gpu.uuid,
        host=gpu.host.name,
        host_id=gpu.host_id,
        index=gpu.index,
        name=gpu.name,
        pool=gpu.pool,
        total_bytes=gpu.total_bytes,
        driver_reserved_bytes=gpu.driver_reserved_bytes,
        state=gpu.state,
        state_reason=gpu.state_reason,
        present=gpu.present,
    )


def host_out(host: Host, tier: Tier | None) -> HostOut:
    """The row as the API shows it."""
    return HostOut(
        id=host.pk,
        name=host.name,
        is_local=host.is_local,
        tags=host.tags,
        driver_version=host.driver_version,
        gpu_problem=host.gpu_problem,
        last_sample_at=host.last_sample_at,
        tier=tier.name if tier else None,
        gpus=[gpu_out(gpu) for gpu in host.gpus.all()],
    )
