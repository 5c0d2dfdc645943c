"""The GPU rows of a host, kept as its samples describe them."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from models_app.inventory.models import Gpu, Host
from models_app.probes.types import GpuSample, GpuState, HostSample

ABSENT_REASON = "The driver no longer lists this GPU."


def record_gpus(host: Host, sample: HostSample) -> bool:
    """Add, change and mark as absent what differs from the sample; whether anything did. One query where nothing does."""
    seen = {gpu.uuid: gpu for gpu in sample.gpus}
    rows = {row.uuid: row for row in Gpu.objects.filter(Q(host=host) | Q(uuid__in=seen))}
    added = [Gpu(uuid=uuid, **_described(host, gpu, None)) for uuid, gpu in seen.items() if uuid not in rows]
    if added:
        Gpu.objects.bulk_create(added, ignore_conflicts=True)
    news = [bool(added)]
    news += [_change(rows[uuid], _described(host, gpu, rows[uuid])) for uuid, gpu in seen.items() if uuid in rows]
    news += [_lose(row, sample.nvml_problem) for uuid, row in rows.items() if uuid not in seen]
    return any(news)


def _described(host: Host, gpu: GpuSample, row: Gpu | None) -> dict[str, Any]:
    described = {"host_id": host.pk, "present": True, "state": gpu.state.value, "state_reason": gpu.reason}
    return described | _figures(gpu) if gpu.state is GpuState.OK or row is None else described


def _figures(gpu: GpuSample) -> dict[str, Any]:
    """What only a GPU that answers says of itself."""
    return {
        "index": gpu.index,
        "name": gpu.name[:120],
        "pool": gpu.pool.value,
        "total_bytes": gpu.total_bytes,
        "driver_reserved_bytes": gpu.driver_reserved_bytes,
    }


def _lose(row: Gpu, problem: str) -> bool:
    return _change(row, {"present": False, "state": GpuState.LOST.value, "state_reason": problem or ABSENT_REASON})


def _change(row: Gpu, described: dict[str, Any]) -> bool:
    news = {name: value for name, value in described.items() if getattr(row, name) != value}
    if news:
        Gpu.objects.filter(pk=row.pk).update(**news)
    return bool(news)
