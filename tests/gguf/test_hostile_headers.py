"""Truncated, lying and random input ends in a clear error, with bounded memory and time."""

import os
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_app.gguf.errors import GgufError, MalformedGguf, MissingSplit, NotGguf, TruncatedGguf
from models_app.gguf.header import GgufHeader
from models_app.gguf.ollama_show import header_from_show
from models_app.gguf.reader import fetch_header, read_header
from models_app.gguf.splits import split_count
from tests.tools.sparse_gguf import SparseTensor, encode_header, encode_value

TENSORS = [SparseTensor("token_embd.weight", (256, 3), "Q4_K"), SparseTensor("norm.weight", (8,), "F32")]
VALID = encode_header({"general.architecture": "llama", "tokens": ["a", "b"], "numbers": [1, 2, 3]}, TENSORS)
HUGE = 2**63


def parse(data: bytes, size_bytes: int | None = None) -> GgufHeader:
    return fetch_header(lambda offset, length: data[offset : offset + length], size_bytes or len(data))


def with_value(kind: int, data: bytes) -> bytes:
    """A header with the one key ``k``, of the given type and bytes."""
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<I", kind) + data + bytes(32)


def with_tensor(shape: tuple[int, ...], type_id: int, offset: int = 0) -> bytes:
    """A header with the one tensor ``t``."""
    body = struct.pack("<Q", 1) + b"t" + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, type_id, offset)
    return b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + body + bytes(32)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "only 0 bytes"),
        (b"PK\x03\x04" + bytes(40), "not with b'GGUF'"),
        (b"GGUF" + struct.pack("<I", 1) + bytes(40), "version 1"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(40), "big-endian"),
    ],
)
def test_a_file_that_is_no_gguf_says_so(data: bytes, message: str) -> None:
    with pytest.raises(NotGguf, match=message):
        parse(data)


def test_a_pipe_in_the_place_of_a_model_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.gguf")
    with pytest.raises(NotGguf, match="no plain file"):
        read_header(tmp_path / "model.gguf")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0), "tensors, more than it can hold"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, HUGE), "metadata entries, more than it can hold"),
        (with_value(8, struct.pack("<Q", HUGE)), "claims 9223372036854775808 bytes"),
        (with_value(9, struct.pack("<IQ", 4, HUGE)), "items in 'k', more than it can hold"),
        (with_value(9, struct.pack("<IQ", 8, HUGE)), "items in 'k', more than it can hold"),
        (with_value(9, struct.pack("<IQ", 9, 1)), "which is not allowed"),
        (with_value(99, b""), "unknown value type 99"),
        (with_tensor((1,) * 5, 0), "5 dimensions"),
        (with_tensor((32,), 4), "unknown type 4"),
        (with_tensor((33,), 2), "no whole number of Q4_0 blocks"),
        (with_tensor((HUGE, HUGE), 0), "impossibly large"),
        (with_tensor((32,), 0, HUGE), "impossibly large"),
        (encode_header({"general.alignment": 33}, []), "not a power of two"),
        (encode_header({}, [TENSORS[0], TENSORS[0]]), "occurs twice"),
    ],
)
def test_a_lying_header_is_refused_with_the_reason(data: bytes, message: str) -> None:
    with pytest.raises(MalformedGguf, match=message):
        parse(data)


def test_a_string_in_an_array_that_claims_too_much_is_truncation() -> None:
    data = with_value(9, struct.pack("<IQ", 8, 1) + struct.pack("<Q", 2**64 - 1))
    with pytest.raises(TruncatedGguf):
        parse(data)


def test_a_repeated_key_is_refused() -> None:
    entry = struct.pack("<Q", 1) + b"k" + encode_value(1)
    with pytest.raises(MalformedGguf, match="'k' occurs twice"):
        parse(b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + entry * 2)


def test_a_header_beyond_the_limit_is_not_fetched() -> None:
    endless = with_value(9, struct.pack("<IQ", 8, 1) + struct.pack("<Q", 2**40))
    fetched = 0

    def fetch(offset: int, length: int) -> bytes:
        nonlocal fetched
        fetched += length
        return (endless + bytes(length))[offset : offset + length] if offset < len(endless) else bytes(length)

    with pytest.raises(MalformedGguf, match="larger than"):
        fetch_header(fetch, 2**50)
    assert fetched < 2 * 1024**2


def test_a_source_that_returns_too_little_is_truncation() -> None:
    with pytest.raises(TruncatedGguf, match="Reading stopped at byte 30"):
        parse(VALID[:30], len(VALID))


@pytest.mark.parametrize("length", range(24, len(VALID) - 31, 7))
def test_every_truncation_of_a_header_is_an_error(length: int) -> None:
    with pytest.raises(GgufError):
        parse(VALID[:length])


@given(st.binary(max_size=400))
def test_random_bytes_behind_the_magic_never_break_the_reader(data: bytes) -> None:
    with suppress(GgufError):
        parse(b"GGUF" + struct.pack("<I", 3) + data)


@given(st.lists(st.tuples(st.integers(8, len(VALID) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_header_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    data = bytearray(VALID)
    for position, value in changes:
        data[position] = value
    with suppress(GgufError):
        assert len(parse(bytes(data)).tensors) <= 2


words = st.text("abkF16._", max_size=6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words, lambda inner: st.lists(inner, max_size=3)
)


@given(
    st.dictionaries(
        st.sampled_from(["model_info", "tensors"]), json_values | st.dictionaries(words, json_values, max_size=3)
    ),
    st.lists(st.dictionaries(st.sampled_from(["name", "type", "shape"]), json_values), max_size=2),
)
def test_any_answer_of_show_is_read_or_refused(answer: dict[str, object], tensors: list[dict[str, object]]) -> None:
    for candidate in (answer, {"model_info": {}, "tensors": tensors}):
        with suppress(MalformedGguf):
            header_from_show(candidate)


@pytest.mark.parametrize("count", [-1, 2**31, "two", 1.5])
def test_an_impossible_number_of_parts_is_refused(count: object) -> None:
    with pytest.raises(MissingSplit):
        split_count(GgufHeader(3, {"split.count": count}, ()))  # type: ignore[dict-item]
