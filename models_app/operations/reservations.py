"""What is promised of a GPU's bytes to running operations, and how much of it they have not taken yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from django.db import models

from models_app.backends.protocol import Observation
from models_app.inventory.models import Gpu
from models_app.operations.models import Operation
from models_app.probes.types import GpuSample, GpuState, HostSample
from models_app.telemetry.attribution import model_bytes


class Reservation(models.Model):
    """Bytes of one GPU promised to a running operation. ``baseline_bytes`` is used VRAM when it was taken.

    What admission still holds back for it is ``max(0, reservation_bytes - risen since the baseline)``, where what an unload
    has freed counts as a negative rise. Only the operation's own models count as risen where their processes show:
    ``own_baseline_bytes`` is what they held when it was taken, ``None`` where processes do not tell. With 0 bytes it only
    says that the operation concerns the GPU. The row is deleted once a sample taken after the operation's end shows the
    result.
    """

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="reservations")
    gpu = models.ForeignKey(Gpu, on_delete=models.CASCADE, related_name="reservations")
    reservation_bytes = models.BigIntegerField()
    baseline_bytes = models.BigIntegerField()
    own_baseline_bytes = models.BigIntegerField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["operation", "gpu"], name="one_reservation_per_operation_and_gpu")]

    def __str__(self) -> str:
        return f"{self.reservation_bytes} bytes on {self.gpu}"


def usable_gpus(sample: HostSample | None) -> list[GpuSample]:
    """The GPUs whose figures may be relied on."""
    return [gpu for gpu in sample.gpus if gpu.state is GpuState.OK] if sample else []


def used_by_gpu(sample: HostSample | None) -> dict[str, int]:
    """Used bytes by the GPU's UUID."""
    return {gpu.uuid: gpu.used_bytes for gpu in usable_gpus(sample)}


def reservations(sample: HostSample, operation_id: int = 0) -> list[Reservation]:
    """What is promised of the usable GPUs, in the order of the ids; not to the operation that asks."""
    on_these = Reservation.objects.filter(gpu__uuid__in=used_by_gpu(sample)).exclude(operation_id=operation_id)
    return list(on_these.select_related("gpu").prefetch_related("operation__endpoint__host").order_by("pk"))


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


def still_held_bytes(reserved: Sequence[Reservation], sample: HostSample) -> dict[str, int]:
    """``held_bytes`` at the moment of a sample."""
    operations = {row.operation_id: row.operation for row in reserved if row.own_baseline_bytes is not None}
    own = {pk: own_bytes(operation, sample) for pk, operation in operations.items()}
    return held_bytes(reserved, used_by_gpu(sample), own)


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
