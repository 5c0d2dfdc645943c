"""A header as plain JSON values, kept small, and back.

What an estimate needs stays: the scalar values and the short arrays of the model's own architecture, the number of tokens,
and every tensor's name, type and shape. Texts, templates and vocabularies stay out.
"""

from __future__ import annotations

from typing import Any

from models_app.gguf.header import GgufHeader, SkippedArray, TensorInfo, Value
from models_app.gguf.tensor_types import TENSOR_TYPES_BY_NAME

_TOKENS = "tokenizer.ggml.tokens"


def as_document(header: GgufHeader, architecture: str = "") -> dict[str, Any]:
    """The header as JSON values; ``architecture`` gives another name to that of the model."""
    prefix, name = f"{header.architecture}.", architecture or header.architecture
    kept = {key: value for key, value in header.metadata.items() if key.startswith(prefix) and _is_kept(value)}
    return {
        "architecture": name,
        "metadata": {f"{name}.{key.removeprefix(prefix)}": value for key, value in kept.items()},
        "vocabulary": header.vocabulary_size,
        "tensors": [[tensor.name, tensor.type.name, *tensor.shape] for tensor in header.tensors],
    }


def from_document(document: Any) -> GgufHeader:
    """The header as far as ``as_document`` kept it. Raises ``ValueError`` for anything else."""
    try:
        metadata: dict[str, Value] = {_text(key): _value(value) for key, value in document["metadata"].items()}
        metadata["general.architecture"] = _text(document["architecture"])
        if vocabulary := _count(document["vocabulary"]):
            metadata[_TOKENS] = SkippedArray(vocabulary)
        return GgufHeader(3, metadata, tuple(_tensor(row) for row in document["tensors"]))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"This is no header: {error!r}") from error


def _is_kept(value: Value) -> bool:
    return not isinstance(value, str | SkippedArray)


def _value(value: Any) -> Value:
    if isinstance(value, list):
        return tuple(_number(item) for item in value)
    return _number(value)


def _number(value: Any) -> int | float | bool:
    if not isinstance(value, int | float):
        raise TypeError(f"{type(value).__name__} is no number")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("a count is a whole number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a name is a text")
    return value


def _tensor(row: list[Any]) -> TensorInfo:
    name, kind, *shape = row
    return TensorInfo(_text(name), tuple(_count(length) for length in shape), TENSOR_TYPES_BY_NAME[kind])
