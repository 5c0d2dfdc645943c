"""The value that the readers return: a model's metadata and its tensors, without their contents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models_app.gguf.tensor_types import TensorType


@dataclass(frozen=True, slots=True)
class SkippedArray:
    """An array whose items were not read: strings, or more numbers than a per-layer array can hold."""

    count: int


Value = str | int | float | bool | tuple[int | float | bool, ...] | SkippedArray
"""A metadata value. Arrays of up to ``limits.MAX_ARRAY_ITEMS`` numbers are tuples; longer ones are skipped."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: ``shape`` lists the elements of a row first. ``offset`` is in bytes from the start of the data."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int = 0

    @property
    def elements(self) -> int:
        """The number of elements."""
        count = 1
        for length in self.shape:
            count *= length
        return count

    @property
    def row_elements(self) -> int:
        """Elements of one row: the input length of a matrix."""
        return self.shape[0] if self.shape else 1

    @property
    def rows(self) -> int:
        """Rows of one matrix: its output length; 1 for a vector."""
        return self.shape[1] if len(self.shape) > 1 else 1

    @property
    def size_bytes(self) -> int:
        """Bytes of the contents, without padding."""
        return self.type.row_bytes(self.elements)


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """A model's header. For a split model the tensors of all parts are together, in order.

    ``data_offset`` is the byte at which the contents of the (first) file begin, 0 where the header did not come from a
    file. ``alignment`` is in bytes.
    """

    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[TensorInfo, ...]
    alignment: int = 32
    data_offset: int = 0

    @property
    def architecture(self) -> str:
        """``general.architecture``, or an empty string."""
        value = self.metadata.get("general.architecture", "")
        return value if isinstance(value, str) else ""

    @property
    def weights_bytes(self) -> int:
        """Bytes of all tensors' contents."""
        return sum(tensor.size_bytes for tensor in self.tensors)

    @property
    def file_bytes(self) -> int:
        """The size that a complete single file has; a shorter one was cut off."""
        end = max((tensor.offset + tensor.size_bytes for tensor in self.tensors), default=0)
        return self.data_offset + end

    @property
    def vocabulary_size(self) -> int:
        """The number of tokens, or 0 where the header lists none."""
        tokens = self.metadata.get("tokenizer.ggml.tokens")
        if isinstance(tokens, SkippedArray):
            return tokens.count
        return 0
