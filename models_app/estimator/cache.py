"""Bytes of the KV cache and of the recurrent state on each device.

Source: the constructors of ``llama_kv_cache``, ``llama_kv_cache_iswa``, ``llama_kv_cache_dsa`` and
``llama_memory_recurrent``, and ``llama_model::create_memory``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from models_app.estimator.context import Context
from models_app.estimator.placement import HOST, Placement
from models_app.estimator.profiles import BuildProfile
from models_app.estimator.shape import Layer, Shape
from models_app.estimator.types import LoadSettings, cache_type
from models_app.estimator.weights import gpu_bytes

_F32_BYTES = 4


def kv_by_device(
    shape: Shape, settings: LoadSettings, context: Context, placement: Placement, profile: BuildProfile, transposes: bool
) -> Counter[int]:
    """Bytes of the KV cache by device number, the MTP context's included."""
    total: Counter[int] = Counter()
    known: dict[tuple[int, bool], int] = {}
    for layer in _caching_layers(shape, settings.draft_length > 0):
        alike = layer.make, _has_indexer(shape, layer)
        if alike not in known:
            known[alike] = _layer_bytes(shape, layer, settings, context, profile, transposes)
        total[placement.layers[layer.index] if settings.kv_offload else HOST] += known[alike]
    return total


def recurrent_by_device(shape: Shape, settings: LoadSettings, context: Context, placement: Placement) -> Counter[int]:
    """Bytes of the recurrent state by device number: F32, one row a slot, and one more for each drafted token."""
    rows = context.slots * (1 + settings.draft_length)
    row_elements = shape.recurrent.convolution + shape.recurrent.state
    total: Counter[int] = Counter()
    for layer in shape.layers:
        if layer.keeps_state:
            device = placement.layers[layer.index] if settings.kv_offload else HOST
            total[device] += row_elements * rows * _F32_BYTES
    return total


def value_width(shape: Shape, layer: Layer, profile: BuildProfile, transposes: bool) -> int:
    """Elements of V that one token takes in a layer's cache; a transposed V is padded to the widest layer."""
    if shape.is_mla and profile.mla_keeps_k_only:
        return 0
    return shape.largest_kv_value_width if transposes else layer.kv_value_width


def _caching_layers(shape: Shape, with_mtp: bool) -> Iterable[Layer]:
    return (layer for layer in shape.layers if layer.keeps_kv and (with_mtp or not layer.is_mtp))


def _layer_bytes(
    shape: Shape, layer: Layer, settings: LoadSettings, context: Context, profile: BuildProfile, transposes: bool
) -> int:
    rows = (context.window_cells if layer.is_windowed else context.cells) * context.streams
    widths = [(cache_type(settings.cache_type_k), layer.kv_key_width)]
    widths.append((cache_type(settings.cache_type_v), value_width(shape, layer, profile, transposes)))
    if _has_indexer(shape, layer):
        widths.append((cache_type(settings.cache_type_k), shape.indexer_key_length))
    return sum(gpu_bytes(kind, width, kind.row_bytes(width) * rows) for kind, width in widths if width)


def _has_indexer(shape: Shape, layer: Layer) -> bool:
    """Whether the layer keeps the keys of a sparse attention's indexer besides its own."""
    return bool(shape.indexer_key_length) and shape.indexer_layers[layer.index]
