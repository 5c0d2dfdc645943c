"""The quick grade: file size, or parameters × bytes per weight, plus KV cache, plus a constant.

It needs a handful of numbers and no header; its error band is wide. Formula: VRAM ≈ weights + KV cache + overhead,
where the KV cache is 2 × layers × KV heads × head size × context × slots × bytes per element.
"""

from __future__ import annotations

from dataclasses import dataclass

from models_app.estimator.types import (
    DeviceEstimate,
    DeviceKind,
    Estimate,
    Grade,
    LoadSettings,
    MissingShape,
    UnknownQuantization,
    cache_type,
    possible,
)

_BITS_PER_WEIGHT = {
    "Q1_0": 1.125,
    "Q2_0": 2.25,
    "IQ1_S": 2.0042,
    "IQ1_M": 2.1460,
    "IQ2_XS": 2.5882,
    "IQ2_S": 2.7403,
    "IQ2_M": 2.9294,
    "IQ3_XXS": 3.2548,
    "IQ3_XS": 3.4977,
    "IQ3_S": 3.6606,
    "IQ3_M": 3.7628,
    "IQ4_XS": 4.4597,
    "IQ4_NL": 4.6818,
    "MXFP4": 4.25,
    "NVFP4": 4.5,
    "TQ1_0": 1.69,
    "TQ2_0": 2.06,
    "Q2_K_S": 2.9697,
    "Q2_K": 3.1593,
    "Q3_K_M": 3.9960,
    "Q3_K_L": 4.2979,
    "Q4_0": 4.65,
    "Q4_1": 5.1,
    "Q4_K_S": 4.6672,
    "Q5_0": 5.57,
    "Q5_1": 6.0,
    "Q5_K_S": 5.5704,
}
"""Measured on Llama-3.1-8B by llama.cpp's ``llama-quantize`` (its README); mixed types included."""

BYTES_PER_WEIGHT: dict[str, float] = {name: bits / 8 for name, bits in _BITS_PER_WEIGHT.items()} | {
    "FP32": 4.0,
    "FP16": 2.0,
    "Q8_0": 1.1,
    "Q6_K": 0.83,
    "Q5_K_M": 0.73,
    "Q4_K_M": 0.64,
    "Q3_K_S": 0.53,
    "IQ2_XXS": 0.29,
}
"""Bytes of one parameter by quantisation. The second group are the rounded figures that planning guides use."""

_ALIASES = {
    "F32": "FP32",
    "F16": "FP16",
    "BF16": "FP16",
    "Q8": "Q8_0",
    "Q6": "Q6_K",
    "Q5": "Q5_K_M",
    "Q5_K": "Q5_K_M",
    "Q4": "Q4_K_M",
    "Q4_K": "Q4_K_M",
    "Q3_K": "Q3_K_M",
    "MXFP4_MOE": "MXFP4",
}

QUICK_OVERHEAD_BYTES = int(0.6 * 1024**3)
"""The device context, the compute buffer and fragmentation, as one constant."""

QUICK_ERROR_SHARE = 0.15
"""Half the width of the error band, as a share of the total."""


@dataclass(frozen=True, slots=True)
class QuickModel:
    """What the quick grade needs of a model; ``None`` where unknown.

    Weights come from ``weights_bytes`` (the size of the model's files) where it is known, otherwise from
    ``parameter_count`` and ``quantization``. ``key_length`` and ``value_length`` are elements of one head; both default
    to ``embedding_length / head_count``. ``has_kv_cache`` is false for encoders such as BERT.
    """

    weights_bytes: int | None = None
    parameter_count: int | None = None
    quantization: str = ""
    layer_count: int | None = None
    kv_head_count: int | None = None
    key_length: int | None = None
    value_length: int | None = None
    head_count: int | None = None
    embedding_length: int | None = None
    has_kv_cache: bool = True


def bytes_per_weight(quantization: str) -> float:
    """Bytes of one parameter. Raises ``UnknownQuantization``, which lists what is known."""
    name = quantization.strip().upper().removeprefix("UD-")
    try:
        return BYTES_PER_WEIGHT[_ALIASES.get(name, name)]
    except KeyError:
        known = ", ".join(sorted(BYTES_PER_WEIGHT))
        raise UnknownQuantization(f"Unknown quantisation {quantization!r}. Known: {known}.") from None


def quick_weights_bytes(model: QuickModel) -> int:
    """Bytes of the weights. Raises ``MissingShape``, ``UnknownQuantization`` or ``ImpossibleSize``."""
    if model.weights_bytes:
        return possible(model.weights_bytes)
    if not model.parameter_count:
        raise MissingShape(("the file size or the parameter count",))
    return possible(int(model.parameter_count * bytes_per_weight(model.quantization)))


def quick_kv_bytes(model: QuickModel, settings: LoadSettings) -> int:
    """Bytes of the KV cache of all slots. Raises ``MissingShape``, which names what is missing, or ``ImpossibleSize``."""
    if not model.has_kv_cache:
        return 0
    layers, heads = model.layer_count, model.kv_head_count
    default_length = model.embedding_length // model.head_count if model.embedding_length and model.head_count else None
    key_length = model.key_length or default_length
    value_length = model.value_length or default_length
    if layers is None or heads is None or key_length is None or value_length is None:
        raise MissingShape(_missing(model, key_length, value_length))
    per_token = cache_type(settings.cache_type_k).row_bytes(heads * key_length)
    per_token += cache_type(settings.cache_type_v).row_bytes(heads * value_length)
    return possible(layers * per_token * settings.total_context)


def _missing(model: QuickModel, key_length: int | None, value_length: int | None) -> tuple[str, ...]:
    needed = {
        "the number of layers": model.layer_count,
        "the number of KV heads": model.kv_head_count,
        "the key length": key_length,
        "the value length": value_length,
    }
    return tuple(name for name, value in needed.items() if value is None)


def quick_estimate(model: QuickModel, settings: LoadSettings) -> Estimate:
    """Estimate a load on one GPU from the shape alone; with fewer ``gpu_layers`` a share stays in host RAM.

    Raises ``MissingShape``, ``UnknownQuantization`` or ``ImpossibleSize``.
    """
    weights_bytes, kv_bytes = quick_weights_bytes(model), quick_kv_bytes(model, settings)
    share = _gpu_share(model, settings)
    gpu = DeviceEstimate(
        "GPU 0",
        DeviceKind.VRAM,
        weights_bytes=int(weights_bytes * share),
        kv_bytes=int(kv_bytes * share) if settings.kv_offload else 0,
        overhead_bytes=QUICK_OVERHEAD_BYTES if share else 0,
    )
    host = DeviceEstimate(
        "Host",
        DeviceKind.HOST_RAM,
        weights_bytes=weights_bytes - gpu.weights_bytes,
        kv_bytes=kv_bytes - gpu.kv_bytes,
    )
    devices = tuple(device for device in (gpu, host) if device.total_bytes)
    error_bytes = int(QUICK_ERROR_SHARE * sum(device.total_bytes for device in devices))
    return Estimate(Grade.QUICK, "generic", devices, error_bytes, ("A rule of thumb: no header was read.",))


def _gpu_share(model: QuickModel, settings: LoadSettings) -> float:
    """The share of the layers on the GPU. llama.cpp counts the output layer as one more than the model has."""
    if settings.gpu_layers is None:
        return 1.0
    if model.layer_count is None:
        if settings.gpu_layers == 0:
            return 0.0
        raise MissingShape(("the number of layers",))
    return min(1.0, settings.gpu_layers / (model.layer_count + 1))
