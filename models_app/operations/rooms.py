"""What each device has left: measured free, less what is promised to others, less the headroom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.conf import settings

from models_app.backends.protocol import Observation
from models_app.estimator.types import DeviceEstimate
from models_app.inventory.models import LoadedModel
from models_app.operations.models import Operation, Reservation
from models_app.probes.types import GpuSample, GpuState, HostSample
from models_app.telemetry.attribution import model_bytes


@dataclass(frozen=True, slots=True)
class Room:
    """What one device offers, in bytes, and what the load would take of it.

    ``uuid`` is empty for the host's RAM, which counts only on a machine without GPUs. ``held_bytes`` is promised to running
    operations and has not risen yet; ``freed_bytes`` is what the models to be unloaded give back. ``available_bytes`` =
    free − held − headroom + freed; ``take_bytes`` is the estimate's share here, give or take ``error_bytes``, 0 where the
    device is not chosen, and ``terms`` says of what it is made. ``gpu_name`` is the card's.
    """

    uuid: str
    name: str
    total_bytes: int
    free_bytes: int
    held_bytes: int
    headroom_bytes: int
    freed_bytes: int
    take_bytes: int = 0
    error_bytes: int = 0
    terms: DeviceEstimate | None = None
    gpu_name: str = ""

    @property
    def available_bytes(self) -> int:
        """What a load may take; negative where less is free than must stay free."""
        return self.free_bytes - self.held_bytes - self.headroom_bytes + self.freed_bytes

    @property
    def reserve_bytes(self) -> int:
        """What is promised to the load: the estimate with its whole error band."""
        return self.take_bytes + self.error_bytes


def usable_gpus(sample: HostSample | None) -> list[GpuSample]:
    """The GPUs whose figures may be relied on."""
    return [gpu for gpu in sample.gpus if gpu.state is GpuState.OK] if sample else []


def used_by_gpu(sample: HostSample | None) -> dict[str, int]:
    """Used bytes by the GPU's UUID."""
    return {gpu.uuid: gpu.used_bytes for gpu in usable_gpus(sample)}


OwnBytes = Mapping[int, Mapping[str, int] | None]
"""By an operation's id: what the processes of its models hold by the GPU's UUID, ``None`` where processes do not tell."""


def held_bytes(reservations: Iterable[Reservation], used: Mapping[str, int], own: OwnBytes | None = None) -> dict[str, int]:
    """By the GPU's UUID, what reservations still hold back: Σ max(0, reservation − risen since its baseline)."""
    held: dict[str, int] = {}
    for row in reservations:
        uuid = row.gpu.uuid
        risen_bytes = _risen_bytes(row, used, own or {})
        held[uuid] = held.get(uuid, 0) + max(0, row.reservation_bytes - risen_bytes)
    return held


def _risen_bytes(row: Reservation, used: Mapping[str, int], own: OwnBytes) -> int:
    """What the operation itself has taken so far: what others take meanwhile is no part of its promise.

    Where processes did not show when it began, it is alone on the GPU and every rise counts; where they have ceased to
    show, none does.
    """
    uuid = row.gpu.uuid
    if row.own_baseline_bytes is None:
        return used.get(uuid, row.baseline_bytes) - row.baseline_bytes
    held = own.get(row.operation_id)
    return 0 if held is None else held.get(uuid, 0) - row.own_baseline_bytes


def own_bytes(operation: Operation, sample: HostSample, observation: Observation | None = None) -> dict[str, int] | None:
    """What the processes of an operation's models hold by the GPU's UUID; ``None`` where processes do not tell.

    ``observation`` is what its endpoint says now, where that is newer than the rows.
    """
    total: dict[str, int] = {}
    for name in operation.model_names:
        held = model_bytes(operation.site, name, sample, observation)
        if held is None:
            return None
        for uuid, size_bytes in held.items():
            total[uuid] = total.get(uuid, 0) + size_bytes
    return total


def bytes_of(model: LoadedModel, gpu_uuids: Sequence[str]) -> dict[str, int]:
    """A loaded model's bytes by the GPU's UUID; empty where it is not known on which GPU they are."""
    if model.gpu_bytes:
        return {uuid: size for uuid, size in model.gpu_bytes.items() if uuid in gpu_uuids}
    if model.vram_bytes and len(gpu_uuids) == 1:
        return {gpu_uuids[0]: model.vram_bytes}
    return {}


def rooms(sample: HostSample, unload: Sequence[LoadedModel], reserved: Sequence[Reservation] | None = None) -> list[Room]:
    """Every usable device of a host, less what is ``reserved``: by anybody, unless the caller has read by whom."""
    gpus = usable_gpus(sample)
    if not gpus:
        return _ram_room(sample) if not sample.gpus else []
    uuids = [gpu.uuid for gpu in gpus]
    reserved = reservations(sample) if reserved is None else reserved
    held = held_bytes(reserved, used_by_gpu(sample), _own_bytes_of(reserved, sample))
    freed = [bytes_of(model, uuids) for model in unload]
    return [_gpu_room(gpu, held.get(gpu.uuid, 0), sum(part.get(gpu.uuid, 0) for part in freed)) for gpu in gpus]


def reservations(sample: HostSample, operation_id: int = 0) -> list[Reservation]:
    """What is promised of the usable GPUs, in the order of the ids; not to the operation that asks."""
    on_these = Reservation.objects.filter(gpu__uuid__in=used_by_gpu(sample)).exclude(operation_id=operation_id)
    return list(on_these.select_related("gpu").prefetch_related("operation__endpoint__host").order_by("pk"))


def _own_bytes_of(reserved: Iterable[Reservation], sample: HostSample) -> OwnBytes:
    operations = {row.operation_id: row.operation for row in reserved if row.own_baseline_bytes is not None}
    return {pk: own_bytes(operation, sample) for pk, operation in operations.items()}


def _gpu_room(gpu: GpuSample, held: int, freed: int) -> Room:
    headroom_bytes = int(settings.HEADROOM_FRACTION * gpu.total_bytes)
    name = f"GPU {gpu.index}"
    return Room(gpu.uuid, name, gpu.total_bytes, gpu.free_bytes, held, headroom_bytes, freed, gpu_name=gpu.name[:120])


def _ram_room(sample: HostSample) -> list[Room]:
    if sample.ram is None:
        return []
    total_bytes, free_bytes = sample.ram.total_bytes, sample.ram.available_bytes
    return [Room("", "Host RAM", total_bytes, free_bytes, 0, int(settings.HEADROOM_FRACTION * total_bytes), 0)]
