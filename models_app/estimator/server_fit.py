"""What llama-server does by itself when a model does not fit (``--fit``, on by default since December 2025).

Source: ``common_params_fit_impl`` in ``common/fit.cpp``. It shrinks only what nobody set: first the context, by a straight
line between what was trained and 4096 tokens, then the layers on the GPUs, the experts before the others. It leaves 1 GiB
of each GPU free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from models_app.estimator.advice import Estimator, fits, layers_that_fit
from models_app.estimator.types import DeviceEstimate, DeviceKind, Estimate, LoadSettings

MARGIN_BYTES = 1024**3
SMALLEST_CONTEXT = 4096
_STEP = 256


@dataclass(frozen=True, slots=True)
class Unset:
    """What the command line leaves to the server. Its own choice of context is what the model was trained for."""

    context: bool
    layers: bool


def fitted(
    estimate: Estimator,
    settings: LoadSettings,
    unset: Unset,
    layer_count: int,
    free_bytes: Sequence[int],
    has_experts: bool = False,
) -> LoadSettings:
    """The settings that the server will really use; the same where all fits or nothing may be changed.

    ``free_bytes`` is what is measured free on each GPU. How it then divides the layers among several GPUs is not modelled.
    Raises ``EstimateError``.
    """
    room = [free - MARGIN_BYTES for free in free_bytes]
    plan = _planned(estimate)
    if not room or fits(plan(settings), room):
        return settings
    if unset.context and settings.context_length > SMALLEST_CONTEXT:
        settings = _with_smaller_context(plan, settings, room, layer_count)
        if settings.context_length > SMALLEST_CONTEXT or fits(plan(settings), room):
            return settings
    if not unset.layers:
        return settings
    if has_experts:
        without = _fewest_experts_in_ram(plan, settings, layer_count, room)
        if without is not None:
            return replace(settings, cpu_moe_layers=without)
        settings = replace(settings, cpu_moe_layers=layer_count)
    return replace(settings, gpu_layers=layers_that_fit(plan, settings, layer_count, room))


def shrunk(before: LoadSettings, after: LoadSettings, layer_count: int) -> str:
    """In a sentence what the server would change by itself; empty where nothing."""
    changes = []
    if after.context_length != before.context_length:
        changes.append(f"about {after.context_length:,} tokens of context in place of {before.context_length:,}")
    if after.cpu_moe_layers != before.cpu_moe_layers:
        changes.append(f"the experts of {after.cpu_moe_layers} layers in host RAM")
    if after.gpu_layers != before.gpu_layers:
        changes.append(f"{after.gpu_layers} of {layer_count + 1} layers on the GPUs")
    return f"llama-server would shrink this load by itself (--fit): {' and '.join(changes)}." if changes else ""


def _with_smaller_context(plan: Estimator, settings: LoadSettings, room: Sequence[int], layer_count: int) -> LoadSettings:
    smallest = replace(settings, context_length=SMALLEST_CONTEXT)
    most, least = (_on_gpus(plan(each)) for each in (settings, smallest))
    used, least_used = (sum(device.total_bytes for device in devices) for devices in (most, least))
    target = sum(room)
    if len(room) > 1:
        # Layers cannot be cut: half of one is expected to be wasted on each GPU, and half of one more.
        target -= (len(room) + 1) * (sum(device.weights_bytes for device in most) // max(1, layer_count)) // 2
    if target <= least_used or used <= least_used:
        return smallest
    wanted = settings.context_length - SMALLEST_CONTEXT
    tokens = SMALLEST_CONTEXT + wanted * (target - least_used) // (used - least_used)
    return replace(settings, context_length=max(SMALLEST_CONTEXT, min(tokens, settings.context_length) // _STEP * _STEP))


def _fewest_experts_in_ram(plan: Estimator, settings: LoadSettings, layer_count: int, room: Sequence[int]) -> int | None:
    """Of how many layers the experts have to stay in host RAM; ``None`` where that is not enough."""
    low, high = 0, layer_count + 1
    while low < high:
        middle = (low + high) // 2
        if fits(plan(replace(settings, cpu_moe_layers=middle)), room):
            high = middle
        else:
            low = middle + 1
    return low if low <= layer_count else None


def _planned(estimate: Estimator) -> Estimator:
    """The estimate as the server makes it: without device contexts."""

    def plan(settings: LoadSettings) -> Estimate:
        found = estimate(settings)
        return replace(found, devices=tuple(replace(device, overhead_bytes=0) for device in found.devices))

    return plan


def _on_gpus(estimate: Estimate) -> list[DeviceEstimate]:
    return [device for device in estimate.devices if device.kind is DeviceKind.VRAM]
