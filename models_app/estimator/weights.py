"""Bytes of the weights on each device, tensor by tensor.

Source: ``llama-model-loader.cpp`` (which device), ``ggml_backend_alloc_ctx_tensors_from_buft`` (alignment) and
``ggml_backend_cuda_buffer_type_get_alloc_size`` (row padding).
"""

from __future__ import annotations

from collections import Counter

from models_app.estimator.architectures import Memory
from models_app.estimator.context import padded
from models_app.estimator.placement import HOST, Placement
from models_app.estimator.shape import Layer, Shape
from models_app.gguf.header import TensorInfo
from models_app.gguf.tensor_types import TensorType

GPU_ALIGNMENT = 128
HOST_ALIGNMENT = 32
_ROW_PADDING = 512

_INPUT = ("token_embd.weight", "position_embd.weight", "token_types.weight", "per_layer_token_embd.weight")
_OUTPUT = (
    "output", "cls", "dense_2", "dense_3", "altup_proj", "altup_unembd_proj", "dec.output_norm", "enc.output_norm",
    "hc_head", "output_hc", "token_embd_norm_lfm2", "fc.", "d2t",
)  # fmt: skip
_PER_DEVICE = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
_CPU_ONLY_TYPES = frozenset({"TQ1_0", "TQ2_0", "F64", "I8", "I16", "I64", "Q8_1"})
_ENCODERS_WITH_HEAD = frozenset({"gemma-embedding", "dream", "llada"})


def gpu_bytes(kind: TensorType, row_elements: int, size_bytes: int) -> int:
    """Bytes that a tensor takes in a CUDA buffer: quantised rows are padded once a tensor, tensors to 128 bytes."""
    remainder = row_elements % _ROW_PADDING
    if kind.is_quantized and remainder:
        size_bytes += kind.row_bytes(_ROW_PADDING - remainder)
    return padded(size_bytes, GPU_ALIGNMENT)


def weights_by_device(shape: Shape, placement: Placement, with_mtp: bool) -> Counter[int]:
    """Bytes of the weights by device number. MTP layers count only where they are used."""
    total: Counter[int] = Counter()
    known: dict[tuple[int, int, bool], Counter[int]] = {}
    for layer in shape.layers:
        if layer.is_mtp and not with_mtp:
            continue
        alike = layer.stored_make, placement.layers[layer.index], layer.index < placement.cpu_moe_layers
        if alike not in known:
            known[alike] = _layer_bytes(layer, placement)
        total.update(known[alike])
    for tensor in shape.other_tensors.values():
        for device in _devices_outside_layers(tensor, shape, placement):
            _add(total, tensor, device)
    return total


def _layer_bytes(layer: Layer, placement: Placement) -> Counter[int]:
    total: Counter[int] = Counter()
    for name, tensor in layer.tensors.items():
        _add(total, tensor, placement.of_tensor(layer.index, name))
    return total


def _devices_outside_layers(tensor: TensorInfo, shape: Shape, placement: Placement) -> set[int]:
    name = tensor.name
    if name == "token_embd.weight" and _is_tied(shape):
        return {HOST, placement.output}
    if name in _INPUT:
        return {HOST}
    if name in _PER_DEVICE:
        return set(placement.layers)
    if name.startswith(_OUTPUT) or (name == "token_embd_norm.weight" and shape.architecture_name.startswith("lfm2")):
        return {placement.output}
    return {placement.layers[0]}


def _is_tied(shape: Shape) -> bool:
    """Whether the token embedding also serves as the output matrix, a second copy on the output layer's device."""
    headless = shape.architecture.memory is Memory.NONE and shape.architecture_name not in _ENCODERS_WITH_HEAD
    return "output.weight" not in shape.other_tensors and not headless


def _add(total: Counter[int], tensor: TensorInfo, device: int) -> None:
    if device != HOST and tensor.type.name in _CPU_ONLY_TYPES and len(tensor.shape) > 1:
        device = HOST
    if device == HOST:
        total[HOST] += padded(tensor.size_bytes, HOST_ALIGNMENT)
    else:
        total[device] += gpu_bytes(tensor.type, tensor.row_elements, tensor.size_bytes)
