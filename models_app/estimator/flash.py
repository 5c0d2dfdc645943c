"""When flash attention is on: llama.cpp's automatic choice, and the head sizes that CUDA has kernels for.

Source: ``llama_context::resolve_fused_ops`` and ``ggml_cuda_get_best_fattn_kernel`` (Turing and newer GPUs).
"""

from __future__ import annotations

from models_app.estimator.placement import HOST, Placement
from models_app.estimator.shape import Layer, Shape
from models_app.estimator.types import InvalidSettings, LoadSettings, cache_type

_EQUAL_HEADS = frozenset({40, 64, 72, 80, 96, 112, 128, 256})
_UNSUPPORTED_CACHE = frozenset({"iq4_nl"})


def uses_flash_attention(shape: Shape, settings: LoadSettings, placement: Placement) -> bool:
    """Whether the load runs with flash attention. Raises ``InvalidSettings`` for heads that cannot be quantised.

    The automatic choice is off where a layer on the GPU has heads without a kernel, and on for a quantised V, which cannot
    do without.
    """
    _check_blocks(shape, settings)
    if not is_automatic(settings):
        return settings.flash_attention is not False
    return all(device == HOST for device in placement.layers) or has_kernels(shape, settings)


def is_automatic(settings: LoadSettings) -> bool:
    """Whether llama.cpp may turn flash attention off by itself."""
    return settings.flash_attention is None and not cache_type(settings.cache_type_v).is_quantized


def _check_blocks(shape: Shape, settings: LoadSettings) -> None:
    for kind, lengths in (
        (cache_type(settings.cache_type_k), {layer.key_length for layer in shape.trunk if layer.keeps_kv}),
        (cache_type(settings.cache_type_v), {layer.value_length for layer in shape.trunk if layer.keeps_kv}),
    ):
        for length in lengths:
            if length % kind.block_elements:
                raise InvalidSettings(f"A cache of {kind.name} needs heads of whole blocks; this model's have {length}.")


def has_kernels(shape: Shape, settings: LoadSettings) -> bool:
    """Whether CUDA has a flash attention kernel for every layer's heads."""
    if {settings.cache_type_k, settings.cache_type_v} & _UNSUPPORTED_CACHE:
        return False
    return all(
        _has_kernel(shape, layer) for layer in shape.trunk if layer.keeps_kv or "attn_output.weight" in layer.tensors
    )


def _has_kernel(shape: Shape, layer: Layer) -> bool:
    if not layer.kv_head_count:
        return True
    ratio = layer.head_count // layer.kv_head_count
    match layer.key_length, layer.value_length:
        case key, value if key in _EQUAL_HEADS:
            return key == value
        case 192, 128:
            return ratio % 8 == 0
        case 320, 256:
            return ratio % 32 == 0
        case 512, 512:
            return ratio >= 2
        case 576, 512:
            return ratio >= 2 and shape.is_mla
        case _:
            return False
