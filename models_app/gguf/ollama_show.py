"""The same header from Ollama's ``POST /api/show`` with ``"verbose": true``, where the file is out of reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models_app.gguf import limits
from models_app.gguf.errors import MalformedGguf
from models_app.gguf.header import GgufHeader, SkippedArray, TensorInfo, Value
from models_app.gguf.tensor_types import TENSOR_TYPES_BY_NAME


def header_from_show(answer: Mapping[str, Any]) -> GgufHeader:
    """The header in an answer of ``/api/show``. Raises ``MalformedGguf`` where ``model_info`` or ``tensors`` is unusable.

    Without ``verbose`` Ollama empties every array, so that per-layer settings are lost: ask for it.
    """
    model_info, tensors = answer.get("model_info"), answer.get("tensors")
    if not isinstance(model_info, Mapping) or not isinstance(tensors, Sequence):
        raise MalformedGguf("The answer holds no model_info or no tensors.")
    metadata = {str(key): _value(value) for key, value in model_info.items() if value is not None}
    return GgufHeader(3, metadata, tuple(_tensor(tensor) for tensor in tensors))


def _value(value: object) -> Value:
    if isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if not isinstance(value, Sequence):
        raise MalformedGguf(f"model_info holds a value of the type {type(value).__name__}.")
    if len(value) > limits.MAX_ARRAY_ITEMS or any(isinstance(item, str) for item in value):
        return SkippedArray(len(value))
    return tuple(value)


def _tensor(tensor: object) -> TensorInfo:
    if not isinstance(tensor, Mapping):
        raise MalformedGguf("A tensor in the answer is no object.")
    name, shape, kind = tensor.get("name"), tensor.get("shape"), TENSOR_TYPES_BY_NAME.get(str(tensor.get("type")).upper())
    sized = isinstance(shape, Sequence) and all(isinstance(length, int) and length > 0 for length in shape)
    if not isinstance(name, str) or kind is None or not sized or not isinstance(shape, Sequence):
        raise MalformedGguf(f"The tensor {name!r} has no usable type and shape.")
    return TensorInfo(name, tuple(shape), kind)
