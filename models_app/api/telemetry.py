"""``/telemetry/latest``: the newest sample of every host."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from msgspec import to_builtins
from ninja import Router
from pydantic import BaseModel
from pydantic_core import to_json

from models_app.api.paging import Columns, Listing, Page
from models_app.inventory.models import Host
from models_app.telemetry.latest import Latest, latest_by_host


class ProcessOut(BaseModel):
    """A process that holds VRAM; ``used_bytes`` is null where the driver does not say."""

    pid: int
    name: str
    used_bytes: int | None


class MigInstanceOut(BaseModel):
    """A part of a GPU that MIG offers as a device of its own."""

    uuid: str
    name: str
    total_bytes: int | None
    used_bytes: int | None


class GpuDetailOut(BaseModel):
    """What changes slowly: clocks and what holds them, ECC errors since the driver's start, the PCIe link, MIG."""

    graphics_clock_mhz: int | None
    graphics_clock_max_mhz: int | None
    memory_clock_mhz: int | None
    memory_clock_max_mhz: int | None
    clock_holds: list[str]
    ecc_is_on: bool | None
    ecc_corrected_count: int | None
    ecc_uncorrected_count: int | None
    pcie_generation: int | None
    pcie_generation_max: int | None
    pcie_width: int | None
    pcie_width_max: int | None
    compute_mode: str
    mig_is_on: bool | None
    mig_instances: list[MigInstanceOut]


class GpuSampleOut(BaseModel):
    """A GPU in a sample. ``used_bytes`` excludes ``driver_reserved_bytes``; the three parts add up to the total."""

    uuid: str
    index: int
    name: str
    state: str
    reason: str
    pool: str
    total_bytes: int
    driver_reserved_bytes: int
    used_bytes: int
    free_bytes: int
    utilization_percent: int | None
    temperature_celsius: int | None
    power_milliwatts: int | None
    power_limit_milliwatts: int | None
    processes: list[ProcessOut] | None
    uses_mps: bool
    detail: GpuDetailOut | None


class PressureOut(BaseModel):
    """Percent of the last minute in which some task, or all of them, waited for memory."""

    some_percent: float
    full_percent: float


class RamOut(BaseModel):
    """Host memory. ``swapped_in_bytes`` and ``swapped_out_bytes`` count since the machine's start."""

    total_bytes: int
    available_bytes: int
    swap_total_bytes: int
    swap_used_bytes: int
    swapped_in_bytes: int
    swapped_out_bytes: int
    cached_bytes: int
    huge_pages_total_bytes: int
    huge_pages_free_bytes: int
    pressure: PressureOut | None


class DiskOut(BaseModel):
    """The file system under a folder of models."""

    path: str
    total_bytes: int
    free_bytes: int


class SampleOut(BaseModel):
    """A host's newest sample; ``taken_at`` is null before the first. A stale one is older than five seconds."""

    host: str
    host_id: int
    taken_at: datetime | None
    boot_id: str
    sequence: int | None
    is_stale: bool
    gpu_problem: str
    gpus: list[GpuSampleOut]
    ram: RamOut | None
    disks: list[DiskOut]


router = Router(tags=["telemetry"])
LISTING = Listing[Host](
    sorts={"host": "name", "host_id": "id"},
    default_sort="host",
    filters={"host": "name", "host_id": "id"},
    searches=("name",),
)
COLUMNS = Columns({name: name for name in ("id", "name", "gpu_problem")})


@router.get(
    "/latest", response=Page[SampleOut], summary="The newest sample of every host", openapi_extra=LISTING.describe()
)
def list_latest(request: HttpRequest) -> HttpResponse:
    page = LISTING.table(request, Host.objects.all(), COLUMNS)
    samples = latest_by_host([host["id"] for host in page["items"]], with_recent=False)
    shown = {**page, "items": [_sample(host, samples.get(host["id"])) for host in page["items"]]}
    return HttpResponse(to_json(shown), content_type="application/json; charset=utf-8")


def _sample(host: dict[str, Any], latest: Latest | None) -> dict[str, Any]:
    """A ``SampleOut`` as plain values: its parts are typed already, and to check them again took half of the time."""
    named = {"host": host["name"], "host_id": host["id"]}
    if latest is None:
        return {**_NO_SAMPLE, **named, "gpu_problem": host["gpu_problem"]}
    sample: dict[str, Any] = to_builtins(latest.sample)
    for gpu, shown in zip(latest.sample.gpus, sample["gpus"], strict=True):
        shown["uses_mps"] = gpu.uses_mps
        if shown["processes"]:
            shown["processes"] = [{name: process[name] for name in _PROCESS} for process in shown["processes"]]
    told = {**sample, **named, "is_stale": latest.is_stale, "gpu_problem": latest.sample.nvml_problem}
    return {name: told[name] for name in SampleOut.model_fields}


_PROCESS = tuple(ProcessOut.model_fields)
_NO_SAMPLE: dict[str, Any] = {
    "taken_at": None,
    "boot_id": "",
    "sequence": None,
    "is_stale": True,
    "gpus": [],
    "ram": None,
    "disks": [],
}
