"""The shape of a small transformer and its random weights, under the tensor names that llama.cpp looks for."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from gguf import GGUFWriter
from numpy.typing import NDArray

from tests.tools.gguf_vocabulary import Vocabulary

DISTINCT_LAYERS = 16
"""From this layer on the random matrices repeat, so that a file of gigabytes is made without gigabytes of memory."""
SEPARATE_OUTPUT = ("llama", "qwen2")
"""Architectures with an output matrix of their own; gemma uses its token embeddings, bert has none."""

Matrix = NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Shape:
    """The dimensions of a transformer. Lengths are numbers of elements, ``context_length`` is tokens."""

    embedding_length: int = 64
    head_count: int = 4
    kv_head_count: int = 2
    feed_forward_length: int = 0
    """0 means four times the embedding length."""
    layer_count: int = 4
    context_length: int = 512

    def __post_init__(self) -> None:
        if min(getattr(self, field.name) for field in fields(self) if field.name != "feed_forward_length") < 1:
            raise ValueError(f"every dimension must be at least 1: {self}")
        if self.embedding_length % (2 * self.head_count):
            raise ValueError(
                f"embedding_length {self.embedding_length} must be a multiple of twice {self.head_count} heads"
            )
        if self.head_count % self.kv_head_count:
            raise ValueError(f"{self.head_count} heads cannot share {self.kv_head_count} key-value heads evenly")

    @property
    def head_length(self) -> int:
        return self.embedding_length // self.head_count

    @property
    def inner_length(self) -> int:
        return self.feed_forward_length or 4 * self.embedding_length


@dataclass(slots=True)
class Weights:
    """Adds the tensors of one model to a writer."""

    writer: GGUFWriter
    arch: str
    shape: Shape
    random: np.random.Generator

    def write(self, vocabulary: Vocabulary) -> None:
        embedding = self.shape.embedding_length
        tokens = self._matrix(vocabulary.size, embedding)
        if self.arch == "gemma":
            tokens[vocabulary.muted] = 0
        self.writer.add_tensor("token_embd.weight", tokens)
        if self.arch == "bert":
            for name, rows in (("token_types", 2), ("position_embd", self.shape.context_length)):
                self.writer.add_tensor(f"{name}.weight", self._matrix(rows, embedding).astype(np.float32))
            self._norm("token_embd_norm", bias=True)
        else:
            self._norm("output_norm")
        if self.arch in SEPARATE_OUTPUT:
            output = self._matrix(vocabulary.size, embedding) * np.float16(4)
            output[vocabulary.muted] = 0
            self.writer.add_tensor("output.weight", output)
        self._write_layers()

    def _write_layers(self) -> None:
        blocks: list[dict[str, Matrix]] = []
        for layer in range(self.shape.layer_count):
            if layer < DISTINCT_LAYERS:
                blocks.append(self._block())
            for name, matrix in blocks[layer % DISTINCT_LAYERS].items():
                self._linear(f"blk.{layer}.{name}", name, matrix)
            norms = ("attn_output_norm", "layer_output_norm") if self.arch == "bert" else ("attn_norm", "ffn_norm")
            for name in norms:
                self._norm(f"blk.{layer}.{name}", bias=self.arch == "bert")

    def _block(self) -> dict[str, Matrix]:
        embedding, inner = self.shape.embedding_length, self.shape.inner_length
        kv_length = self.shape.kv_head_count * self.shape.head_length
        rows_and_columns = {
            "attn_q": (embedding, embedding),
            "attn_k": (kv_length, embedding),
            "attn_v": (kv_length, embedding),
            "attn_output": (embedding, embedding),
            "ffn_up": (inner, embedding),
            "ffn_down": (embedding, inner),
        }
        if self.arch != "bert":
            rows_and_columns["ffn_gate"] = (inner, embedding)
        return {name: self._matrix(*dimensions) for name, dimensions in rows_and_columns.items()}

    def _linear(self, tensor: str, name: str, matrix: Matrix) -> None:
        self.writer.add_tensor(f"{tensor}.weight", matrix)
        if self.arch == "bert" or (self.arch == "qwen2" and name in ("attn_q", "attn_k", "attn_v")):
            self.writer.add_tensor(f"{tensor}.bias", np.zeros(matrix.shape[0], np.float32))

    def _norm(self, tensor: str, *, bias: bool = False) -> None:
        self.writer.add_tensor(f"{tensor}.weight", np.ones(self.shape.embedding_length, np.float32))
        if bias:
            self.writer.add_tensor(f"{tensor}.bias", np.zeros(self.shape.embedding_length, np.float32))

    def _matrix(self, rows: int, columns: int) -> Matrix:
        values = self.random.standard_normal((rows, columns), dtype=np.float32) / np.float32(np.sqrt(columns))
        return values.astype(np.float16)
