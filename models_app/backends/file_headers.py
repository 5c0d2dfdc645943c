"""The headers of model files on this machine, as the protocol's values."""

from __future__ import annotations

from models_app.backends.protocol import ModelShape
from models_app.gguf.header import GgufHeader

_LARGEST = 2**31 - 1


def shape_of_header(header: GgufHeader) -> ModelShape:
    """The numbers that the catalog shows of a header."""
    architecture = header.architecture

    def figure(key: str) -> int | None:
        value = header.metadata.get(f"{architecture}.{key}")
        is_count = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST
        return value if is_count else None  # type: ignore[return-value]

    return ModelShape(
        architecture=architecture,
        layer_count=figure("block_count"),
        kv_head_count=figure("attention.head_count_kv"),
        head_count=figure("attention.head_count"),
        key_length=figure("attention.key_length"),
        value_length=figure("attention.value_length"),
        embedding_length=figure("embedding_length"),
        training_context_length=figure("context_length"),
        parameter_count=sum(tensor.elements for tensor in header.tensors) or None,
        is_embedding=figure("pooling_type") is not None or architecture.endswith("bert"),
    )
