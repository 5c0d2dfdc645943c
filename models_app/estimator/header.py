"""The header grade: every term from the model's own header, device by device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from models_app.estimator.cache import kv_by_device, recurrent_by_device
from models_app.estimator.compute import compute_by_device
from models_app.estimator.context import Context, resolve_context
from models_app.estimator.flash import has_kernels, uses_flash_attention
from models_app.estimator.graph import Plan, UnfamiliarGraph
from models_app.estimator.placement import HOST, Placement, place
from models_app.estimator.profiles import CURRENT, BuildProfile
from models_app.estimator.rule_of_thumb import formula_by_device
from models_app.estimator.shape import Shape
from models_app.estimator.shape_reader import read_shape
from models_app.estimator.types import DeviceEstimate, DeviceKind, Estimate, Grade, LoadSettings, possible
from models_app.estimator.weights import weights_by_device
from models_app.gguf.header import GgufHeader

_MIB = 1024**2
CONTEXT_BYTES = 150 * _MIB
"""A CUDA context with its kernels and workspaces: 140 to 153 MiB measured on cards of up to 32 GiB."""
LARGE_CONTEXT_BYTES = 330 * _MIB
"""The same on data-centre cards with their many more multiprocessors and larger cuBLAS workspaces."""
LARGE_GPU_BYTES = 64 * 1024**3

_CONTEXT_ERROR_BYTES = 100 * _MIB
_COMPUTE_ERROR_SHARE = 0.10
_UNVERIFIED_ERROR_SHARE = 0.5
_STORED_ERROR_SHARE = 0.001


def header_estimate(
    model: GgufHeader | Shape,
    settings: LoadSettings,
    profile: BuildProfile = CURRENT,
    gpu_bytes: Sequence[int] | None = None,
) -> Estimate:
    """Estimate a load from a header, or from the shape read from it once.

    ``gpu_bytes`` is the free memory of each GPU: ``None`` for one without a limit, empty for none. Raises
    ``EstimateError``.
    """
    shape = model if isinstance(model, Shape) else read_shape(model)
    placement = place(shape, settings, profile, gpu_bytes)
    context = resolve_context(shape, settings, profile)
    flash = uses_flash_attention(shape, settings, placement)
    on_host = flash and placement.gpu_count > 0 and not has_kernels(shape, settings)
    plan = Plan(shape, settings, context, profile, placement, flash, on_host)
    why: tuple[str, ...] = ()
    try:
        (plan, compute), familiar = compute_by_device(plan), shape.architecture.known
    except UnfamiliarGraph as reason:
        compute, familiar = formula_by_device(plan), False
        why = (f"The compute buffer is a rule of thumb: {reason}",)
    terms = (
        weights_by_device(shape, placement, settings.draft_length > 0),
        kv_by_device(shape, settings, context, placement, profile, plan.transposes_values),
        recurrent_by_device(shape, settings, context, placement),
    )
    notes = _notes(shape, settings, context, plan.flash)
    if on_host:
        notes += ("The GPU has no flash attention kernel for this model's heads: attention would run on the CPU.",)
    notes += why
    devices = _devices((*terms, compute), placement, gpu_bytes or ())
    possible(sum(device.total_bytes for device in devices))
    error_bytes = sum(_error_bytes(device, familiar) for device in devices)
    return Estimate(Grade.HEADER, profile.name, devices, error_bytes, notes)


def _devices(terms: tuple[Counter[int], ...], placement: Placement, gpu_bytes: Sequence[int]) -> tuple[DeviceEstimate, ...]:
    names = [(number, f"GPU {number}", DeviceKind.VRAM) for number in range(placement.gpu_count)]
    weights, kv, recurrent, compute = terms
    return tuple(
        DeviceEstimate(
            name,
            kind,
            weights_bytes=weights[number],
            kv_bytes=kv[number],
            recurrent_bytes=recurrent[number],
            compute_bytes=compute[number],
            overhead_bytes=_overhead_bytes(number, gpu_bytes),
        )
        for number, name, kind in [*names, (HOST, "Host", DeviceKind.HOST_RAM)]
    )


def _overhead_bytes(number: int, gpu_bytes: Sequence[int]) -> int:
    if number == HOST:
        return 0
    is_large = number < len(gpu_bytes) and gpu_bytes[number] >= LARGE_GPU_BYTES
    return LARGE_CONTEXT_BYTES if is_large else CONTEXT_BYTES


def _error_bytes(device: DeviceEstimate, familiar: bool) -> int:
    """Half the width of the error band: stored terms are exact, the compute buffer and the context are not."""
    stored = device.weights_bytes + device.kv_bytes + device.recurrent_bytes
    share = _COMPUTE_ERROR_SHARE if familiar else _UNVERIFIED_ERROR_SHARE
    return int(
        _STORED_ERROR_SHARE * stored
        + share * device.compute_bytes
        + (_CONTEXT_ERROR_BYTES if device.kind is DeviceKind.VRAM else 0)
    )


def _notes(shape: Shape, settings: LoadSettings, context: Context, flash: bool) -> tuple[str, ...]:
    notes = []
    if not shape.architecture.known:
        notes.append(f"{shape.architecture_name} is not among the verified architectures; treated as a plain transformer.")
    if not flash and settings.flash_attention is None:
        notes.append("No flash attention kernel fits this model's heads.")
    if context.cells * context.streams != settings.total_context:
        notes.append(f"The server rounds the context to {context.cells} cells for each of {context.streams} caches.")
    if 0 < shape.training_context_length < settings.context_length:
        notes.append(f"The model was trained on {shape.training_context_length} tokens.")
    return tuple(notes)
