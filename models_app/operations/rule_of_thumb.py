"""The quick grade for a subject: from sizes and the few numbers that every endpoint tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from models_app.catalog.models import Variant
from models_app.estimator.quick import QUICK_ERROR_SHARE, QUICK_OVERHEAD_BYTES, QuickModel, quick_estimate
from models_app.estimator.types import DeviceEstimate, DeviceKind, EstimateError, Grade, MissingShape
from models_app.operations.reckoned import Reckoning, reckoned
from models_app.operations.rooms import Room
from models_app.operations.subject import Subject

UNKNOWN_KV_SHARE = 0.25
"""How far the error band is widened, as a share of the weights, where the KV cache cannot be reckoned."""
_TERMS = ("weights_bytes", "kv_bytes", "recurrent_bytes", "compute_bytes", "overhead_bytes")


def quick_reckoning(subject: Subject, gpus: Sequence[Room] | None) -> Reckoning:
    """What can be said without a header; ``gpus`` as in ``reckon``."""
    try:
        estimate = quick_estimate(quick_model(subject.variant, subject.size_bytes), subject.settings)
    except MissingShape as error:
        return _partly_known(subject, gpus, tuple(f"Unknown: {name}." for name in error.missing))
    except EstimateError as error:
        return _partly_known(subject, gpus, (str(error),))
    whole = reckoned(replace(estimate, notes=()), subject, None)
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


def quick_model(variant: Variant | None, size_bytes: int) -> QuickModel:
    """The numbers that the catalog knows of a variant whose files have this size (0 where unknown)."""
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
