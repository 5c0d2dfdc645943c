"""What a load takes besides its model: a vision projector, a draft model, a LoRA adapter."""

from __future__ import annotations

from dataclasses import replace

from models_app.estimator.placement import HOST, Placement
from models_app.estimator.types import Estimate
from models_app.gguf.header import GgufHeader

PROJECTOR_COMPUTE_BYTES = 250 * 1024**2
"""A projector's own compute buffer: 248 MiB measured on one of 888 MiB."""
_PROJECTOR_ERROR_BYTES = 150 * 1024**2


def with_projector(estimate: Estimate, weights_bytes: int) -> Estimate:
    """Add a multimodal projector (``--mmproj``), which lies wholly on the first GPU, or in host RAM without one."""
    first, *others = estimate.devices
    first = replace(
        first,
        weights_bytes=first.weights_bytes + weights_bytes,
        compute_bytes=first.compute_bytes + PROJECTOR_COMPUTE_BYTES,
    )
    error_bytes = estimate.error_bytes + _PROJECTOR_ERROR_BYTES
    return replace(estimate, devices=(first, *others), error_bytes=error_bytes)


def with_draft(estimate: Estimate, draft: Estimate) -> Estimate:
    """Add a draft model of the same process: every term but the device context, which the two share."""
    added = {device.name: device for device in draft.devices}
    devices = []
    for device in estimate.devices:
        other = added.get(device.name)
        if other is not None:
            device = replace(
                device,
                weights_bytes=device.weights_bytes + other.weights_bytes,
                kv_bytes=device.kv_bytes + other.kv_bytes,
                recurrent_bytes=device.recurrent_bytes + other.recurrent_bytes,
                compute_bytes=device.compute_bytes + other.compute_bytes,
            )
        devices.append(device)
    return replace(estimate, devices=tuple(devices), error_bytes=estimate.error_bytes + draft.error_bytes)


def with_adapter(estimate: Estimate, adapter: GgufHeader, placement: Placement) -> Estimate:
    """Add a LoRA adapter (``--lora``): its tensors lie where the weights lie that they adapt."""
    added: dict[str, int] = {}
    for tensor in adapter.tensors:
        name = _device_name(_adapted_device(tensor.name, placement))
        added[name] = added.get(name, 0) + tensor.size_bytes
    devices = tuple(
        replace(device, weights_bytes=device.weights_bytes + added.get(device.name, 0)) for device in estimate.devices
    )
    return replace(estimate, devices=devices)


def _adapted_device(name: str, placement: Placement) -> int:
    prefix, _, rest = name.partition(".")
    if prefix != "blk":
        return HOST if name.startswith("token_embd") else placement.output
    number = rest.partition(".")[0]
    index = int(number) if number.isdecimal() else 0
    return placement.layers[min(index, len(placement.layers) - 1)]


def _device_name(device: int) -> str:
    return "Host" if device == HOST else f"GPU {device}"
