"""Write GGUF files with true shapes and no contents: the tensors' bytes are a hole in a sparse file, all zeros.

Such a file costs a few hundred KiB of disk however large the model is, and llama.cpp loads it like any other.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models_app.gguf.tensor_types import TENSOR_TYPES_BY_NAME

MetadataValue = str | bool | int | float | Sequence[str] | Sequence[int] | Sequence[bool]
ALIGNMENT = 32


@dataclass(frozen=True, slots=True)
class SparseTensor:
    """A tensor to write; ``shape`` lists the elements of a row first."""

    name: str
    shape: tuple[int, ...]
    type: str = "F16"

    @property
    def size_bytes(self) -> int:
        count = 1
        for length in self.shape:
            count *= length
        return TENSOR_TYPES_BY_NAME[self.type].row_bytes(count)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _scalar(value: bool | int | float | str) -> tuple[int, bytes]:
    """The value type and the bytes of one value."""
    match value:
        case bool():
            return 7, struct.pack("<?", value)
        case int() if 0 <= value < 2**32:
            return 4, struct.pack("<I", value)
        case int():
            return 11, struct.pack("<q", value)
        case float():
            return 6, struct.pack("<f", value)
        case _:
            return 8, _string(value)


def encode_value(value: MetadataValue) -> bytes:
    """The value type and the bytes of a metadata value."""
    if isinstance(value, str | bool | int | float):
        kind, data = _scalar(value)
        return struct.pack("<I", kind) + data
    if all(isinstance(item, int) and not isinstance(item, bool) for item in value):
        return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
    kind = _scalar(value[0])[0]
    return struct.pack("<IIQ", 9, kind, len(value)) + b"".join(_scalar(item)[1] for item in value)


def encode_header(metadata: Mapping[str, MetadataValue], tensors: Sequence[SparseTensor], version: int = 3) -> bytes:
    """A whole header, padded to where the contents of the tensors begin."""
    parts = [b"GGUF", struct.pack("<IQQ", version, len(tensors), len(metadata))]
    parts += [_string(key) + encode_value(value) for key, value in metadata.items()]
    offset = 0
    for tensor in tensors:
        type_id = TENSOR_TYPES_BY_NAME[tensor.type].id
        dimensions = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        parts.append(_string(tensor.name) + dimensions + struct.pack("<IQ", type_id, offset))
        offset += _padded(tensor.size_bytes)
    header = b"".join(parts)
    return header + bytes(_padded(len(header)) - len(header))


def write_sparse_gguf(path: Path, metadata: Mapping[str, MetadataValue], tensors: Sequence[SparseTensor]) -> Path:
    """Write the header and leave a hole of the size of the tensors behind it."""
    header = encode_header(metadata, tensors)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + sum(_padded(tensor.size_bytes) for tensor in tensors))
    return path


def _padded(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT
