"""What each device has left: measured free, less what is promised to others, less the headroom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from django.conf import settings

from models_app.inventory.models import LoadedModel
from models_app.operations.models import Reservation
from models_app.probes.types import GpuSample, GpuState, HostSample


@dataclass(frozen=True, slots=True)
class Room:
    """What one device offers, in bytes, and what the load would take of it.

    ``uuid`` is empty for the host's RAM, which counts only on a machine without GPUs. ``held_bytes`` is promised to running
    operations and has not risen yet; ``freed_bytes`` is what the models to be unloaded give back. ``available_bytes`` =
    free − held − headroom + freed; ``take_bytes`` is the estimate's share here, 0 where the device is not chosen.
    """

    uuid: str
    name: str
    total_bytes: int
    free_bytes: int
    held_bytes: int
    headroom_bytes: int
    freed_bytes: int
    take_bytes: int = 0

    @property
    def available_bytes(self) -> int:
        """What a load may take; negative where less is free than must stay free."""
        return self.free_bytes - self.held_bytes - self.headroom_bytes + self.freed_bytes


def usable_gpus(sample: HostSample | None) -> list[GpuSample]:
    """The GPUs whose figures may be relied on."""
    return [gpu for gpu in sample.gpus if gpu.state is GpuState.OK] if sample else []


def used_by_gpu(sample: HostSample | None) -> dict[str, int]:
    """Used bytes by the GPU's UUID."""
    return {gpu.uuid: gpu.used_bytes for gpu in usable_gpus(sample)}


def held_bytes(reservations: Iterable[Reservation], used: Mapping[str, int]) -> dict[str, int]:
    """By the GPU's UUID, what reservations still hold back: Σ max(0, reservation − risen since its baseline)."""
    held: dict[str, int] = {}
    for row in reservations:
        uuid = row.gpu.uuid
        risen_bytes = used.get(uuid, row.baseline_bytes) - row.baseline_bytes
        held[uuid] = held.get(uuid, 0) + max(0, row.reservation_bytes - risen_bytes)
    return held


def bytes_of(model: LoadedModel, gpu_uuids: Sequence[str]) -> dict[str, int]:
    """A loaded model's bytes by the GPU's UUID; empty where it is not known on which GPU they are."""
    if model.gpu_bytes:
        return {uuid: size for uuid, size in model.gpu_bytes.items() if uuid in gpu_uuids}
    if model.vram_bytes and len(gpu_uuids) == 1:
        return {gpu_uuids[0]: model.vram_bytes}
    return {}


def rooms(sample: HostSample, unload: Sequence[LoadedModel], operation_id: int = 0) -> list[Room]:
    """Every usable device of a host. The reservations of the operation that asks do not count against itself."""
    gpus = usable_gpus(sample)
    if not gpus:
        return _ram_room(sample) if not sample.gpus else []
    uuids = [gpu.uuid for gpu in gpus]
    others = Reservation.objects.filter(gpu__uuid__in=uuids).exclude(operation_id=operation_id).select_related("gpu")
    held = held_bytes(others, used_by_gpu(sample))
    freed = [bytes_of(model, uuids) for model in unload]
    return [_gpu_room(gpu, held.get(gpu.uuid, 0), sum(part.get(gpu.uuid, 0) for part in freed)) for gpu in gpus]


def _gpu_room(gpu: GpuSample, held: int, freed: int) -> Room:
    headroom_bytes = int(settings.HEADROOM_FRACTION * gpu.total_bytes)
    return Room(gpu.uuid, f"GPU {gpu.index}", gpu.total_bytes, gpu.free_bytes, held, headroom_bytes, freed)


def _ram_room(sample: HostSample) -> list[Room]:
    if sample.ram is None:
        return []
    total_bytes, free_bytes = sample.ram.total_bytes, sample.ram.available_bytes
    return [Room("", "Host RAM", total_bytes, free_bytes, 0, int(settings.HEADROOM_FRACTION * total_bytes), 0)]


def placed(devices: Sequence[Room], needed_bytes: int, extra_bytes: int, gpu: str | None) -> tuple[list[Room], int]:
    """The devices with what each takes, and what is missing (0 where it fits).

    The chosen GPU, or the one with most room if that is enough, or as few as will do, largest first, each further one
    taking ``extra_bytes`` for its own context. Where nothing is enough, all of them together.
    """
    usable = [room for room in devices if gpu in (None, room.uuid)]
    ordered = sorted(usable, key=lambda room: room.available_bytes, reverse=True)
    for count in range(1, len(ordered) + 1):
        wanted_bytes = needed_bytes + (count - 1) * extra_bytes
        available_bytes = sum(max(0, room.available_bytes) for room in ordered[:count])
        if wanted_bytes <= available_bytes or count == len(ordered):
            taken = _shared(ordered[:count], wanted_bytes)
            return [taken.get(room.uuid, room) for room in devices], max(0, wanted_bytes - available_bytes)
    return list(devices), needed_bytes


def _shared(chosen: Sequence[Room], wanted_bytes: int) -> dict[str, Room]:
    """``wanted_bytes`` divided in proportion to the room that each has."""
    weights = [max(1, room.available_bytes) for room in chosen]
    return {
        room.uuid: replace(room, take_bytes=wanted_bytes * weight // sum(weights))
        for room, weight in zip(chosen, weights, strict=True)
    }
