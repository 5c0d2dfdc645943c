"""Read a GGUF header: all value types, versions 2 and 3, little-endian.

Array contents are skipped unless they are short arrays of numbers, the per-layer settings. Format:
``ggml/docs/gguf.md``; limits are this package's own. Every claim of the file is checked before it costs memory or time.
"""

from __future__ import annotations

import os
import stat
import struct
from itertools import repeat

from models_app.gguf import limits
from models_app.gguf.errors import MalformedGguf, NotGguf
from models_app.gguf.header import GgufHeader, SkippedArray, TensorInfo, Value
from models_app.gguf.source import Fetch, HeaderBytes
from models_app.gguf.tensor_types import TENSOR_TYPES

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: _U32,
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: _U64,
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_STRING, _ARRAY = 8, 9
_SMALLEST_ENTRY_BYTES = 13
_SMALLEST_TENSOR_BYTES = 24


def read_header(path: str | os.PathLike[str]) -> GgufHeader:
    """Read the header of one file. Raises ``GgufError``, or ``OSError`` where the file cannot be read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would wait for who writes to it
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotGguf("This is no plain file.")
        return fetch_header(lambda offset, length: os.pread(descriptor, length, offset), status.st_size)
    finally:
        os.close(descriptor)


def fetch_header(fetch: Fetch, size_bytes: int) -> GgufHeader:
    """Read a header through ``fetch(offset, length)`` from a file of ``size_bytes``. Raises ``GgufError``."""
    return _Reader(HeaderBytes(fetch, size_bytes)).header()


class _Reader:
    """One pass over a header; ``position`` is the offset of the next byte."""

    def __init__(self, source: HeaderBytes) -> None:
        self.source = source
        self.position = 0

    def header(self) -> GgufHeader:
        version = self._version()
        tensor_count = self._count("tensors", limits.MAX_TENSORS, _SMALLEST_TENSOR_BYTES)
        entry_count = self._count("metadata entries", limits.MAX_METADATA_ENTRIES, _SMALLEST_ENTRY_BYTES)
        metadata = self._metadata(entry_count)
        tensors = self._tensors(tensor_count)
        alignment = _alignment(metadata)
        data_offset = -(-self.position // alignment) * alignment
        return GgufHeader(version, metadata, tensors, alignment, data_offset)

    def _version(self) -> int:
        if self.source.size_bytes < 24:
            raise NotGguf(f"The file has only {self.source.size_bytes} bytes.")
        magic = bytes(self.source.buffer[self._take(4) : 4])
        if magic != b"GGUF":
            raise NotGguf(f"The file begins with {magic!r}, not with b'GGUF'.")
        version = self._u32()
        if version & 0xFFFF == 0:
            raise NotGguf("The file is big-endian; only little-endian files are read.")
        if version not in (2, 3):
            raise NotGguf(f"GGUF version {version} is not supported; versions 2 and 3 are.")
        return version

    def _metadata(self, count: int) -> dict[str, Value]:
        metadata: dict[str, Value] = {}
        for _ in range(count):
            key = self._string(limits.MAX_NAME_BYTES, "key")
            if key in metadata:
                raise MalformedGguf(f"The key {key!r} occurs twice.")
            metadata[key] = self._value(self._u32(), key)
        return metadata

    def _value(self, kind: int, key: str) -> Value:
        if kind == _STRING:
            return self._string(limits.MAX_STRING_BYTES, key)
        if kind == _ARRAY:
            return self._array(key)
        scalar = _SCALARS.get(kind)
        if scalar is None:
            raise MalformedGguf(f"The key {key!r} has the unknown value type {kind}.")
        value: int | float | bool = scalar.unpack_from(self.source.buffer, self._take(scalar.size))[0]
        return value

    def _array(self, key: str) -> Value:
        kind = self._u32()
        if kind == _STRING:
            count = self._count(f"items in {key!r}", limits.MAX_HEADER_BYTES, 8)
            self._skip_strings(count)
            return SkippedArray(count)
        scalar = _SCALARS.get(kind)
        if scalar is None:
            raise MalformedGguf(f"The key {key!r} is an array of the value type {kind}, which is not allowed.")
        count = self._count(f"items in {key!r}", limits.MAX_HEADER_BYTES, scalar.size)
        start = self._take(count * scalar.size)
        if count > limits.MAX_ARRAY_ITEMS:
            return SkippedArray(count)
        return struct.unpack_from(f"<{count}{scalar.format[1:]}", self.source.buffer, start)

    def _skip_strings(self, count: int) -> None:
        """Walk over ``count`` strings. This loop is where a large vocabulary's time goes."""
        buffer, position, unpack = self.source.buffer, self.position, _U64.unpack_from
        steps = repeat(None, count)
        while True:
            try:
                for _ in steps:
                    position += 8 + unpack(buffer, position)[0]
                break
            except (struct.error, OverflowError):
                self.source.require(position + 8)
                position += 8 + unpack(buffer, position)[0]
        self.source.require(position)
        self.position = position

    def _tensors(self, count: int) -> tuple[TensorInfo, ...]:
        tensors: dict[str, TensorInfo] = {}
        for _ in range(count):
            tensor = self._tensor()
            if tensor.name in tensors:
                raise MalformedGguf(f"The tensor {tensor.name!r} occurs twice.")
            tensors[tensor.name] = tensor
        return tuple(tensors.values())

    def _tensor(self) -> TensorInfo:
        name = self._string(limits.MAX_NAME_BYTES, "tensor name")
        dimensions = self._u32()
        if dimensions > limits.MAX_DIMENSIONS:
            raise MalformedGguf(f"The tensor {name!r} has {dimensions} dimensions.")
        start = self._take(8 * dimensions)
        shape: tuple[int, ...] = struct.unpack_from(f"<{dimensions}Q", self.source.buffer, start)
        kind = TENSOR_TYPES.get(type_id := self._u32())
        offset = self._u64()
        if kind is None:
            raise MalformedGguf(f"The tensor {name!r} has the unknown type {type_id}.")
        tensor = TensorInfo(name, shape, kind, offset)
        if tensor.elements > limits.MAX_TENSOR_ELEMENTS or offset > limits.MAX_TENSOR_ELEMENTS:
            raise MalformedGguf(f"The tensor {name!r} is impossibly large.")
        if shape and shape[0] % kind.block_elements:
            raise MalformedGguf(f"A row of the tensor {name!r} is no whole number of {kind.name} blocks.")
        return tensor

    def _count(self, what: str, limit: int, smallest_bytes: int) -> int:
        """A count that the rest of the file can hold and that is within ``limit``."""
        count = self._u64()
        if count > limit or count * smallest_bytes > self.source.size_bytes - self.position:
            raise MalformedGguf(f"The file claims {count} {what}, more than it can hold.")
        return count

    def _string(self, limit: int, what: str) -> str:
        length = self._u64()
        if length > limit:
            raise MalformedGguf(f"The text of {what!r} claims {length} bytes; at most {limit} are read.")
        start = self._take(length)
        return self.source.buffer[start : start + length].decode("utf-8", errors="replace")

    def _u32(self) -> int:
        value: int = _U32.unpack_from(self.source.buffer, self._take(4))[0]
        return value

    def _u64(self) -> int:
        value: int = _U64.unpack_from(self.source.buffer, self._take(8))[0]
        return value

    def _take(self, size: int) -> int:
        """Advance over ``size`` bytes, make them available and return where they start."""
        start = self.position
        self.source.require(start + size)
        self.position = start + size
        return start


def _alignment(metadata: dict[str, Value]) -> int:
    alignment = metadata.get("general.alignment", 32)
    valid = isinstance(alignment, int) and 0 < alignment <= limits.MAX_ALIGNMENT and alignment & (alignment - 1) == 0
    if not valid or not isinstance(alignment, int):
        raise MalformedGguf(f"general.alignment is {alignment!r}, not a power of two.")
    return alignment
