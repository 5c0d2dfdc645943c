"""What each device has left: measured free, less what is promised to others, less the headroom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings

from models_app.estimator.types import DeviceEstimate
from models_app.inventory.models import LoadedModel
from models_app.operations.reservations import Reservation, reservations, still_held_bytes, usable_gpus
from models_app.probes.types import GpuSample, HostSample


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
    held = still_held_bytes(reserved, sample)
    freed = [bytes_of(model, uuids) for model in unload]
    return [_gpu_room(gpu, held.get(gpu.uuid, 0), sum(part.get(gpu.uuid, 0) for part in freed)) for gpu in gpus]


def _gpu_room(gpu: GpuSample, held: int, freed: int) -> Room:
    headroom_bytes = int(settings.HEADROOM_FRACTION * gpu.total_bytes)
    name = f"GPU {gpu.index}"
    return Room(gpu.uuid, name, gpu.total_bytes, gpu.free_bytes, held, headroom_bytes, freed, gpu_name=gpu.name[:120])


def _ram_room(sample: HostSample) -> list[Room]:
    if sample.ram is None:
        return []
    total_bytes, free_bytes = sample.ram.total_bytes, sample.ram.available_bytes
    return [Room("", "Host RAM", total_bytes, free_bytes, 0, int(settings.HEADROOM_FRACTION * total_bytes), 0)]
