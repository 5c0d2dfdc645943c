"""What a load will take: learned from measured loads, else from the model's header, else a quick rule of thumb."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from models_app.catalog.headers import stored_shape
from models_app.catalog.models import Variant, VariantHeader
from models_app.estimator.header import header_estimate
from models_app.estimator.learned import learned_estimate
from models_app.estimator.profiles import CURRENT, BuildProfile
from models_app.estimator.quick import QUICK_ERROR_SHARE, QUICK_OVERHEAD_BYTES, QuickModel, quick_estimate
from models_app.estimator.types import (
    DeviceEstimate,
    DeviceKind,
    Estimate,
    EstimateError,
    Grade,
    LoadSettings,
    MissingShape,
)
from models_app.operations.rooms import Room
from models_app.operations.subject import Subject

UNKNOWN_KV_SHARE = 0.25
"""How far the error band is widened, as a share of the weights, where the KV cache cannot be reckoned."""
ESTIMATES_KEPT = 4096
_TERMS = ("weights_bytes", "kv_bytes", "recurrent_bytes", "compute_bytes", "overhead_bytes")


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


def reckon(subject: Subject, gpus: Sequence[Room] | None) -> Reckoning:
    """The estimate for these GPUs; empty is a machine without any, ``None`` one GPU of which nothing is known."""
    measured = reckon_unlearned(subject, gpus)
    past = subject.past.get(gpu_names(gpus or ()), ())
    if not past or not measured.devices or measured.grade is Grade.QUICK:
        return measured
    estimate = Estimate(measured.grade, measured.build_profile, measured.devices, measured.error_bytes)
    learned = learned_estimate(estimate, subject.settings.context_length, past)
    unknown = (*measured.unknown, *learned.notes)
    return replace(measured, grade=learned.grade, devices=learned.devices, error_bytes=learned.error_bytes, unknown=unknown)


def reckon_unlearned(subject: Subject, gpus: Sequence[Room] | None) -> Reckoning:
    """The same without what earlier loads taught."""
    if subject.header:
        try:
            estimate = _from_header(subject.header, subject.settings, subject.profile, _gpu_bytes(gpus))
        except EstimateError as error:
            return _quick(replace(subject, unknown=(*subject.unknown, str(error))), gpus)
        return _of(estimate, subject, gpus)
    return _quick(subject, gpus)


def variant_estimate(
    variant: Variant,
    settings: LoadSettings,
    profile: BuildProfile = CURRENT,
    gpu_bytes: tuple[int, ...] | None = None,
) -> Estimate:
    """The same for a variant alone, wherever it may be loaded: from its header, else a rule of thumb for one GPU.

    Raises ``EstimateError``. Reads no rows where the variant came with its ``header``.
    """
    header = getattr(variant, "header", None)
    if isinstance(header, VariantHeader):
        return _from_header(bytes(header.content), settings, profile, gpu_bytes)
    return quick_estimate(_quick_model(variant, variant.file_size_bytes), settings)


def gpu_names(gpus: Sequence[Room]) -> str:
    """The cards' names, as measurements remember them."""
    return ", ".join(room.gpu_name for room in gpus)[:255]


@lru_cache(maxsize=ESTIMATES_KEPT)
def _from_header(
    header: bytes, settings: LoadSettings, profile: BuildProfile, gpu_bytes: tuple[int, ...] | None
) -> Estimate:
    return header_estimate(stored_shape(header), settings, profile, gpu_bytes)


def _gpu_bytes(gpus: Sequence[Room] | None) -> tuple[int, ...] | None:
    """What decides how a model is divided: the free memory of each GPU; for a single one only its size matters."""
    if gpus is None:
        return None
    if len(gpus) == 1:
        return (gpus[0].total_bytes,)
    return tuple(max(1, room.available_bytes + room.headroom_bytes) for room in gpus)


def _of(estimate: Estimate, subject: Subject, gpus: Sequence[Room] | None) -> Reckoning:
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


def _quick(subject: Subject, gpus: Sequence[Room] | None) -> Reckoning:
    try:
        estimate = quick_estimate(_quick_model(subject.variant, subject.size_bytes), subject.settings)
    except MissingShape as error:
        return _partly_known(subject, gpus, tuple(f"Unknown: {name}." for name in error.missing))
    except EstimateError as error:
        return _partly_known(subject, gpus, (str(error),))
    whole = _of(replace(estimate, notes=()), subject, None)
    if gpus is not None and not gpus:
        return replace(whole, devices=(_joined(estimate.devices, "Host"),), ram_bytes=0)
    return replace(whole, devices=_shared(_joined(whole.devices, "GPU"), gpus))


def _partly_known(subject: Subject, gpus: Sequence[Room] | None, why: tuple[str, ...]) -> Reckoning:
    """Without a shape: the files' size, a wider band, and nothing for layers that stay in RAM."""
    size_bytes, on_cpu = subject.size_bytes, subject.settings.gpu_layers == 0
    whole = DeviceEstimate("GPU", DeviceKind.VRAM, weights_bytes=size_bytes, overhead_bytes=QUICK_OVERHEAD_BYTES)
    if on_cpu and (gpus is None or gpus):
        whole = DeviceEstimate("GPU", DeviceKind.VRAM)
    return Reckoning(
        grade=Grade.QUICK,
        build_profile=subject.profile.name,
        settings=subject.settings,
        devices=_shared(whole, gpus) if size_bytes else (),
        error_bytes=int((QUICK_ERROR_SHARE + UNKNOWN_KV_SHARE) * size_bytes),
        ram_bytes=size_bytes if on_cpu else 0,
        kv_is_known=False,
        unknown=(*subject.unknown, *why),
    )


def _joined(devices: Sequence[DeviceEstimate], name: str) -> DeviceEstimate:
    terms = {term: sum(getattr(device, term) for device in devices) for term in _TERMS}
    return DeviceEstimate(name, devices[0].kind if devices else DeviceKind.VRAM, **terms)


def _shared(whole: DeviceEstimate, gpus: Sequence[Room] | None) -> tuple[DeviceEstimate, ...]:
    """A rule of thumb's terms divided in proportion to the room of each GPU; every GPU adds its own context."""
    if not gpus or len(gpus) == 1:
        return (whole,)
    whole = replace(whole, overhead_bytes=len(gpus) * whole.overhead_bytes)
    weights = [max(1, room.available_bytes) for room in gpus]
    return tuple(
        replace(whole, name=room.name, **{term: getattr(whole, term) * weight // sum(weights) for term in _TERMS})
        for room, weight in zip(gpus, weights, strict=True)
    )


def _quick_model(variant: Variant | None, size_bytes: int) -> QuickModel:
    if variant is None:
        return QuickModel(weights_bytes=size_bytes or None)
    return QuickModel(
        weights_bytes=size_bytes or None,
        parameter_count=variant.parameter_count,
        quantization=variant.quantization,
        layer_count=variant.layer_count,
        kv_head_count=variant.kv_head_count,
        key_length=variant.key_length,
        value_length=variant.value_length,
        head_count=variant.head_count,
        embedding_length=variant.embedding_length,
        has_kv_cache=not variant.is_embedding,
    )
