"""The learned grade: an estimate that starts from what earlier loads of the same model and settings were measured to take.

Each earlier load says by how much reality differed from the estimate. Carried over to another context, only the KV cache
and the compute buffer change, and these follow the formula: base = measured + (KV now - KV then) + (compute now - compute
then). The learned total is the median of the bases, so that one odd load moves nothing; its band is the prior's, divided
by √(n + 1), but never less than the measurements themselves scatter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from statistics import median

from models_app.estimator.types import DeviceEstimate, DeviceKind, Estimate, Grade

REMEMBERED = 7
"""How many of the latest loads count: enough for a median, few enough to follow a change of driver."""
LEAST_ERROR_BYTES = 16 * 1024**2
"""What a measurement itself may be off by: drivers count in pages, and allocators grow in steps."""

_YIELDING_TERMS = ("overhead_bytes", "compute_bytes", "weights_bytes", "kv_bytes", "recurrent_bytes")
"""The terms that a correction changes, least certain first."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One earlier load, in bytes of all GPUs together: what was measured, and the estimate's terms for that load."""

    context_length: int
    measured_bytes: int
    estimated_bytes: int
    kv_bytes: int
    compute_bytes: int


def learned_estimate(estimate: Estimate, context_length: int, past: Sequence[Measured]) -> Estimate:
    """``estimate`` corrected by ``past``, which is of the same model, server and settings, latest first.

    Loads with the same context count before all others. Without any, the estimate is returned as it is.
    """
    same = [each for each in past if each.context_length == context_length]
    counted = (same or list(past))[:REMEMBERED]
    if not counted or not estimate.vram_bytes:
        return estimate
    bases = [_carried_over(each, estimate, is_same=bool(same)) for each in counted]
    total_bytes = max(0, round(median(bases)))
    scatter_bytes = max(abs(base - total_bytes) for base in bases)
    error_bytes = max(LEAST_ERROR_BYTES, scatter_bytes, round(estimate.error_bytes / sqrt(len(counted) + 1)))
    loads = f"{len(counted)} measured load{'s' if len(counted) > 1 else ''}"
    notes = (*estimate.notes, f"Learned from {loads}{'' if same else ' with another context'}.")
    devices = _corrected(estimate, total_bytes)
    return replace(estimate, grade=Grade.LEARNED, devices=devices, error_bytes=error_bytes, notes=notes)


def _carried_over(each: Measured, estimate: Estimate, *, is_same: bool) -> int:
    """What the load would have been measured to take with the context of the estimate."""
    if is_same:
        return each.measured_bytes
    on_gpus = [device for device in estimate.devices if device.kind is DeviceKind.VRAM]
    kv_bytes = sum(device.kv_bytes for device in on_gpus) - each.kv_bytes
    compute_bytes = sum(device.compute_bytes for device in on_gpus) - each.compute_bytes
    return each.measured_bytes + kv_bytes + compute_bytes


def _corrected(estimate: Estimate, total_bytes: int) -> tuple[DeviceEstimate, ...]:
    """The devices with the GPUs' terms changed so that these add up to ``total_bytes``, each in its proportion."""
    given_bytes, passed_bytes, devices = 0, 0, []
    for device in estimate.devices:
        if device.kind is DeviceKind.VRAM:
            passed_bytes += device.total_bytes
            share_bytes = total_bytes * passed_bytes // estimate.vram_bytes - given_bytes
            given_bytes += share_bytes
            device = _with_total(device, share_bytes)
        devices.append(device)
    return tuple(devices)


def _with_total(device: DeviceEstimate, total_bytes: int) -> DeviceEstimate:
    difference_bytes = total_bytes - device.total_bytes
    for term in _YIELDING_TERMS:
        now_bytes: int = getattr(device, term)
        after_bytes = max(0, now_bytes + difference_bytes)
        difference_bytes -= after_bytes - now_bytes
        device = replace(device, **{term: after_bytes})  # type: ignore[arg-type]
    return device
