"""The true shapes of public models, and what llama.cpp's own planner says that they take.

``shapes.json`` holds metadata and tensors without contents; ``planner.json`` holds the bytes of weights, caches and
compute buffers that llama.cpp (build of October 2026) plans for them on GPUs that answer as CUDA does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from models_app.estimator.types import LoadSettings
from models_app.gguf.header import GgufHeader, SkippedArray, TensorInfo, Value
from models_app.gguf.tensor_types import TENSOR_TYPES_BY_NAME
from tests.tools.sparse_gguf import MetadataValue, SparseTensor, write_sparse_gguf

_FOLDER = Path(__file__).parent.parent / "fixtures" / "estimator"
GPU_BYTES = 4096 * 1024**3
"""The memory of each GPU in the recorded plans: enough for anything."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One recorded plan. ``bytes`` lists weights, caches and compute buffer by device."""

    model: str
    gpu_count: int
    settings: LoadSettings
    bytes: dict[str, tuple[int, int, int]]


@cache
def _shapes() -> dict[str, Any]:
    shapes: dict[str, Any] = json.loads((_FOLDER / "shapes.json").read_text())
    return shapes


def model_names() -> list[str]:
    """Every model whose shape is known."""
    return list(_shapes())


def metadata_of(name: str) -> dict[str, MetadataValue]:
    """A model's metadata, without a tokenizer."""
    metadata: dict[str, MetadataValue] = _shapes()[name]["metadata"]
    return metadata


@cache
def tensors_of(name: str) -> tuple[SparseTensor, ...]:
    """A model's tensors, in the order of its layers."""
    shape = _shapes()[name]
    layers = {index: group["tensors"] for group in shape["layers"] for index in group["at"]}
    rows = [f"blk.{index}.{row}" for index in sorted(layers) for row in layers[index]]
    return tuple(_tensor(row) for row in [*shape["others"], *rows])


def _tensor(row: str) -> SparseTensor:
    name, kind, *lengths = row.split()
    return SparseTensor(name, tuple(map(int, lengths)), kind)


@cache
def header_of(name: str) -> GgufHeader:
    """A model's header, as the reader would return it."""
    metadata: dict[str, Value] = {key: _value(value) for key, value in metadata_of(name).items()}
    tensors = tuple(TensorInfo(t.name, t.shape, TENSOR_TYPES_BY_NAME[t.type]) for t in tensors_of(name))
    return GgufHeader(3, metadata, tensors)


def _value(value: MetadataValue) -> Value:
    if isinstance(value, str | bool | int | float):
        return value
    numbers = [item for item in value if not isinstance(item, str)]
    return tuple(numbers) if len(numbers) == len(value) else SkippedArray(len(value))


def write_model(name: str, path: Path) -> Path:
    """Write the model as a sparse file that llama.cpp loads: true shapes, a made-up vocabulary, zeros for weights."""
    tokens = _shapes()[name]["metadata"][f"{metadata_of(name)['general.architecture']}.vocab_size"]
    vocabulary: dict[str, MetadataValue] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [*_BYTE_TOKENS, *(f"tok{number}" for number in range(256, tokens))],
        "tokenizer.ggml.token_type": [1] * tokens,
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
    }
    return write_sparse_gguf(path, metadata_of(name) | vocabulary, tensors_of(name))


_BYTE_TOKENS = [chr(code) if 33 <= code < 127 else chr(256 + code) for code in range(256)]


def recorded_plans() -> list[Plan]:
    """Every recorded plan."""
    recorded = json.loads((_FOLDER / "planner.json").read_text())
    return [
        Plan(
            model,
            row["gpus"],
            LoadSettings(**{k: tuple(v) if isinstance(v, list) else v for k, v in row["settings"].items()}),
            {device: tuple(figures) for device, figures in row["bytes"].items()},
        )
        for model, rows in recorded.items()
        for row in rows
    ]
