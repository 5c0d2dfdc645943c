"""An estimate for certain devices, as it is shown, held against their memory, and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models_app.estimator.types import DeviceEstimate, DeviceKind, Estimate, Grade, LoadSettings
from models_app.operations.rooms import Room
from models_app.operations.subject import Subject


@dataclass(frozen=True, slots=True)
class Reckoning:
    """An estimate for certain devices: the GPUs, or host RAM where there are none. Figures are bytes of them together.

    ``devices`` has the terms of each, in the given order; it is empty where not even the weights are known. The truth is
    expected within ± ``error_bytes``. ``ram_bytes`` is what a load onto GPUs leaves in the host's RAM. ``kv_is_known`` is
    false where the shape lacks what the KV cache needs.
    """

    grade: Grade
    build_profile: str
    settings: LoadSettings
    devices: tuple[DeviceEstimate, ...]
    error_bytes: int
    ram_bytes: int = 0
    kv_is_known: bool = True
    unknown: tuple[str, ...] = ()

    @property
    def weights_bytes(self) -> int | None:
        """The weights; ``None`` where unknown."""
        return sum(device.weights_bytes for device in self.devices) if self.devices else None

    @property
    def kv_bytes(self) -> int | None:
        """KV cache and recurrent state; ``None`` where unknown."""
        known = self.devices and self.kv_is_known
        return sum(device.kv_bytes + device.recurrent_bytes for device in self.devices) if known else None

    @property
    def compute_bytes(self) -> int:
        """The compute buffers; 0 in the quick grade, whose one constant holds them too."""
        return sum(device.compute_bytes for device in self.devices)

    @property
    def overhead_bytes(self) -> int:
        """What is neither weights nor cache: driver contexts and compute buffers."""
        return self.compute_bytes + sum(device.overhead_bytes for device in self.devices)

    @property
    def needed_bytes(self) -> int | None:
        """The known terms together; ``None`` without the weights."""
        return sum(device.total_bytes for device in self.devices) if self.devices else None

    def error_share(self, device: DeviceEstimate) -> int:
        """The part of the error band that falls on one device, in proportion to what it takes."""
        return self.error_bytes * device.total_bytes // max(1, self.needed_bytes or 0)


def reckoned(estimate: Estimate, subject: Subject, gpus: Sequence[Room] | None) -> Reckoning:
    """The estimate of a subject, as far as it concerns these devices; what else there is stays in the host's RAM."""
    wanted = DeviceKind.HOST_RAM if gpus is not None and not gpus else DeviceKind.VRAM
    devices = tuple(device for device in estimate.devices if device.kind is wanted)
    return Reckoning(
        grade=estimate.grade,
        build_profile=estimate.build_profile,
        settings=subject.settings,
        devices=devices,
        error_bytes=estimate.error_bytes,
        ram_bytes=estimate.total_bytes - sum(device.total_bytes for device in devices),
        unknown=(*subject.unknown, *estimate.notes),
    )
