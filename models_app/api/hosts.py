"""``/hosts`` and ``/gpus``: the machines and their devices."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router
from pydantic import BaseModel

from models_app.api.paging import Columns, Listing, Page
from models_app.inventory.models import Gpu, Host
from models_app.operations.hardware import tiers_by_pools
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


GPU_COLUMNS = Columns.of(GpuOut, host="host__name")
HOST_COLUMNS = Columns.of(HostOut, without={"tier", "gpus"})


@hosts.get("", response=Page[HostOut], summary="List hosts", openapi_extra=HOSTS.describe())
def list_hosts(request: HttpRequest) -> dict[str, Any]:
    page = HOSTS.table(request, Host.objects.all(), HOST_COLUMNS)
    return {**page, "items": _with_gpus(page["items"])}


@hosts.get("/{int:host_id}", response=HostOut, summary="One host")
def get_host(request: HttpRequest, host_id: int) -> dict[str, Any]:
    return _with_gpus([HOST_COLUMNS.one(Host.objects.filter(pk=host_id))])[0]


@gpus.get("", response=Page[GpuOut], summary="List GPUs", openapi_extra=GPUS.describe())
def list_gpus(request: HttpRequest) -> dict[str, Any]:
    return GPUS.table(request, Gpu.objects.all(), GPU_COLUMNS)


@gpus.get("/{int:gpu_id}", response=GpuOut, summary="One GPU")
def get_gpu(request: HttpRequest, gpu_id: int) -> dict[str, Any]:
    return GPU_COLUMNS.one(Gpu.objects.filter(pk=gpu_id))


def _with_gpus(hosts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    gpus: dict[int, list[dict[str, Any]]] = {host["id"]: [] for host in hosts}
    for gpu in GPU_COLUMNS.read(Gpu.objects.filter(host__in=gpus).order_by("host_id", "index", "id")):
        gpus[gpu["host_id"]].append(gpu)
    tiers = tiers_by_pools(
        {host_id: [(gpu["pool"], gpu["total_bytes"]) for gpu in found if gpu["present"]] for host_id, found in gpus.items()}
    )
    names = {host_id: tier.name for host_id, tier in tiers.items()}
    return [{**host, "tier": names.get(host["id"]), "gpus": gpus[host["id"]]} for host in hosts]
