"""Headers are read whole, from files and by ranges, in all value types and both versions."""

import json
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from models_app.gguf.header import SkippedArray
from models_app.gguf.ollama_show import header_from_show
from models_app.gguf.reader import fetch_header, read_header
from models_app.gguf.tensor_types import TENSOR_TYPES
from tests.tools.sparse_gguf import SparseTensor, encode_header, write_sparse_gguf

METADATA = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.attention.head_count_kv": [8, 4],
    "llama.rope.freq_base": 10000.0,
    "llama.attention.causal": True,
    "llama.pattern": [True, False],
    "tokenizer.ggml.tokens": ["a", "", "ccc"],
    "negative": -5,
}
TENSORS = [SparseTensor("token_embd.weight", (256, 3), "Q4_K"), SparseTensor("norm.weight", (8,), "F32")]


@pytest.mark.parametrize("version", [2, 3])
def test_every_kind_of_value_and_tensor_is_read_in_both_versions(tmp_path: Path, version: int) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(encode_header(METADATA, TENSORS, version))
    header = read_header(path)
    assert (header.version, header.architecture, header.vocabulary_size) == (version, "llama", 3)
    expected = METADATA | {
        "llama.attention.head_count_kv": (8, 4),
        "llama.pattern": (True, False),
        "tokenizer.ggml.tokens": SkippedArray(3),
    }
    assert header.metadata == expected
    assert [(t.name, t.shape, t.type.name, t.offset) for t in header.tensors] == [
        ("token_embd.weight", (256, 3), "Q4_K", 0),
        ("norm.weight", (8,), "F32", 448),
    ]
    assert header.weights_bytes == 3 * 144 + 32


def test_a_file_of_the_reference_writer_is_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    for index, kind in enumerate(("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")):
        getattr(writer, f"add_{kind}")(f"value.{kind}", index)
    writer.add_float64("value.float64", 0.1)
    writer.add_array("value.long", list(range(5000)))
    writer.add_tensor("first", np.zeros((4, 32), dtype=np.float32))
    writer.add_tensor("second", np.zeros((2, 256), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header, reference = read_header(path), gguf.GGUFReader(path)
    assert [header.metadata[f"value.{kind}"] for kind in ("uint8", "int16", "int64", "float64")] == [0, 3, 7, 0.1]
    assert header.metadata["value.long"] == SkippedArray(5000)
    theirs = [(t.name, tuple(map(int, t.shape)), t.n_bytes, t.data_offset) for t in reference.tensors]
    assert [(t.name, t.shape, t.size_bytes, t.offset + header.data_offset) for t in header.tensors] == theirs
    assert header.file_bytes <= path.stat().st_size


def test_block_sizes_are_those_of_the_reference_package() -> None:
    theirs = {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    never_stored = {9}  # Q8_1 lives in memory only; the package counts its scales as 4 bytes each, ggml as 2
    shared = (TENSOR_TYPES.keys() & theirs.keys()) - never_stored
    assert len(shared) >= 30
    assert {i: (TENSOR_TYPES[i].block_elements, TENSOR_TYPES[i].block_bytes) for i in shared} == {
        i: theirs[i] for i in shared
    }


def test_a_remote_header_is_read_in_few_growing_ranges() -> None:
    tokens = [f"token {number}" for number in range(300_000)]
    data = encode_header(METADATA | {"tokenizer.ggml.tokens": tokens}, TENSORS)
    ranges: list[tuple[int, int]] = []

    def fetch(offset: int, length: int) -> bytes:
        ranges.append((offset, length))
        return data[offset : offset + length]

    header = fetch_header(fetch, len(data) + 10**9)
    assert header.vocabulary_size == 300_000
    assert len(ranges) <= 4
    assert [offset for offset, _ in ranges] == [sum(length for _, length in ranges[:i]) for i in range(len(ranges))]


def test_the_size_of_a_complete_file_is_known_from_its_header(tmp_path: Path) -> None:
    header = read_header(write_sparse_gguf(tmp_path / "model.gguf", METADATA, TENSORS))
    assert header.file_bytes == (tmp_path / "model.gguf").stat().st_size


def test_ollamas_verbose_show_gives_the_same_value() -> None:
    answer = {
        "model_info": {
            "general.architecture": "llama",
            "llama.block_count": 2,
            "llama.attention.head_count_kv": [8, 4],
            "tokenizer.ggml.tokens": ["a", "b"],
            "tokenizer.ggml.merges": None,
        },
        "tensors": [{"name": "token_embd.weight", "type": "Q4_K", "shape": [256, 2]}],
    }
    header = header_from_show(json.loads(json.dumps(answer)))
    assert (header.architecture, header.vocabulary_size, header.weights_bytes) == ("llama", 2, 288)
    assert header.metadata["llama.attention.head_count_kv"] == (8, 4)


def test_alignment_moves_the_start_of_the_contents(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(encode_header(METADATA | {"general.alignment": 4096}, TENSORS))
    assert read_header(path).data_offset == 4096


def test_a_reader_stops_at_the_header_and_leaves_the_contents_alone() -> None:
    data = encode_header(METADATA, TENSORS)
    assert struct.unpack_from("<I", data, 4) == (3,)
    header = fetch_header(lambda offset, length: data[offset : offset + length], len(data))
    assert header.data_offset == len(data)
