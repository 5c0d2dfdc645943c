"""Writes small GGUF models with random weights that a real llama-server or Ollama loads and answers from.

    python -m tests.tools.make_gguf tiny.gguf                            # 0.7 MB
    python -m tests.tools.make_gguf m500.gguf --target-mb 500 --embedding-length 1024

Nothing is downloaded and nobody's licence is involved. The same arguments always give the same bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_VERSION, GGUFType, GGUFWriter, LlamaFileType, PoolingType

from tests.tools.gguf_vocabulary import Vocabulary, write_byte_level_bpe, write_sentencepiece, write_wordpiece
from tests.tools.gguf_weights import SEPARATE_OUTPUT, Shape, Weights

WEIGHT_BYTES = 2
MEGABYTE = 1_000_000
VOCABULARIES: dict[str, Callable[[GGUFWriter], Vocabulary]] = {
    "llama": write_sentencepiece,
    "gemma": lambda writer: write_sentencepiece(writer, gemma=True),
    "qwen2": write_byte_level_bpe,
    "bert": write_wordpiece,
}


def write_model(
    path: Path, *, arch: str = "llama", shape: Shape | None = None, target_mb: float | None = None, seed: int = 1
) -> int:
    """Write a model in half precision and return its size in bytes.

    ``target_mb`` (10^6 bytes) chooses the number of layers that comes nearest. Raises
    ``ValueError`` for an unknown architecture, impossible dimensions or a target that one layer already exceeds.
    """
    if arch not in VOCABULARIES:
        raise ValueError(f"unknown architecture {arch!r}: choose from {', '.join(VOCABULARIES)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    writer = GGUFWriter(partial, arch)
    vocabulary = VOCABULARIES[arch](writer)
    shape = _shape_for(shape or Shape(), arch, vocabulary.size, target_mb)
    _write_header(writer, arch, path.stem, shape, vocabulary.size)
    Weights(writer, arch, shape, np.random.default_rng(seed)).write(vocabulary)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(path)
    return path.stat().st_size


def _shape_for(shape: Shape, arch: str, vocabulary_size: int, target_mb: float | None) -> Shape:
    if arch == "bert":
        shape = replace(shape, kv_head_count=shape.head_count)
    if target_mb is None:
        return shape
    embedding, inner = shape.embedding_length, shape.inner_length
    feed_forward_matrices = 2 if arch == "bert" else 3
    kv_length = shape.kv_head_count * shape.head_length
    layer_bytes = WEIGHT_BYTES * embedding * (2 * embedding + 2 * kv_length + feed_forward_matrices * inner)
    vocabulary_matrices = 2 if arch in SEPARATE_OUTPUT else 1
    table_bytes = vocabulary_matrices * WEIGHT_BYTES * vocabulary_size * embedding
    layer_count = round((target_mb * MEGABYTE - table_bytes) / layer_bytes)
    if layer_count < 1:
        raise ValueError(f"{target_mb} MB holds no layer of {layer_bytes / MEGABYTE:.2f} MB: ask for more or narrow it")
    return replace(shape, layer_count=layer_count)


def _write_header(writer: GGUFWriter, arch: str, name: str, shape: Shape, vocabulary_size: int) -> None:
    writer.add_type(GGUFType.MODEL)
    writer.add_name(name)
    writer.add_description("random weights, for tests")
    writer.add_license("CC0-1.0")
    writer.add_quantization_version(GGML_QUANT_VERSION)
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    writer.add_vocab_size(vocabulary_size)
    writer.add_context_length(shape.context_length)
    writer.add_embedding_length(shape.embedding_length)
    writer.add_block_count(shape.layer_count)
    writer.add_feed_forward_length(shape.inner_length)
    writer.add_head_count(shape.head_count)
    if arch == "bert":
        writer.add_layer_norm_eps(1e-12)
        writer.add_causal_attention(False)
        writer.add_pooling_type(PoolingType.MEAN)
        return
    writer.add_head_count_kv(shape.kv_head_count)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    if arch == "gemma":
        writer.add_key_length(shape.head_length)
        writer.add_value_length(shape.head_length)
    else:
        writer.add_rope_dimension_count(shape.head_length)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--arch", choices=VOCABULARIES, default="llama")
    parser.add_argument("--target-mb", type=float, help="choose the number of layers for a file of about this size")
    parser.add_argument("--seed", type=int, default=1)
    for field in fields(Shape):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=int, default=field.default)
    given = parser.parse_args()
    try:
        shape = Shape(**{field.name: getattr(given, field.name) for field in fields(Shape)})
        size = write_model(given.path, arch=given.arch, shape=shape, target_mb=given.target_mb, seed=given.seed)
    except ValueError as error:
        parser.error(str(error))
    print(f"{given.path}: {given.arch}, {size / MEGABYTE:.2f} MB")  # noqa: T201


if __name__ == "__main__":
    _main()
