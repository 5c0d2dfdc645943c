"""The true shapes of public models, and what llama.cpp's own planner says that they take.

``shapes.json`` holds metadata and tensors without contents. ``planner.json`` and ``planner_unseen.json`` hold the bytes of
weights, caches and compute buffers that llama.cpp (build of October 2026) plans for them on GPUs that answer as CUDA does.
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


def metadata_of(name: str, layers: int = 0) -> dict[str, MetadataValue]:
    """A model's metadata, without a tokenizer; with ``layers``, that of a model of so few."""
    metadata: dict[str, MetadataValue] = dict(_shapes()[name]["metadata"])
    count_key = f"{metadata['general.architecture']}.block_count"
    count = metadata[count_key]
    if not layers or not isinstance(count, int) or layers >= count:
        return metadata
    cut = {key: value[:layers] for key, value in metadata.items() if isinstance(value, list) and len(value) == count}
    return metadata | cut | {count_key: layers}


@cache
def tensors_of(name: str, layers: int = 0) -> tuple[SparseTensor, ...]:
    """A model's tensors, in the order of its layers; with ``layers``, of the first ones only."""
    shape = _shapes()[name]
    at = {index: group["tensors"] for group in shape["layers"] for index in group["at"]}
    rows = [f"blk.{index}.{row}" for index in sorted(at) if not layers or index < layers for row in at[index]]
    return tuple(_tensor(row) for row in [*shape["others"], *rows])


def _tensor(row: str) -> SparseTensor:
    name, kind, *lengths = row.split()
    return SparseTensor(name, tuple(map(int, lengths)), kind)


@cache
def header_of(name: str, layers: int = 0) -> GgufHeader:
    """A model's header, as the reader would return it; with ``layers``, that of a model of so few."""
    metadata: dict[str, Value] = {key: _value(value) for key, value in metadata_of(name, layers).items()}
    tensors = tuple(TensorInfo(t.name, t.shape, TENSOR_TYPES_BY_NAME[t.type]) for t in tensors_of(name, layers))
    return GgufHeader(3, metadata, tensors)


def _value(value: MetadataValue) -> Value:
    if isinstance(value, str | bool | int | float):
        return value
    numbers = [item for item in value if not isinstance(item, str)]
    return tuple(numbers) if len(numbers) == len(value) else SkippedArray(len(value))


def write_model(name: str, path: Path, layers: int = 0) -> Path:
    """Write the model as a sparse file that llama.cpp loads: true shapes, a made-up vocabulary, zeros for weights."""
    tokens = _shapes()[name]["metadata"][f"{metadata_of(name)['general.architecture']}.vocab_size"]
    vocabulary: dict[str, MetadataValue] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [*_TOKENS, *(f"tok{number}" for number in range(len(_TOKENS), tokens))],
        "tokenizer.ggml.token_type": [1] * tokens,
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
    }
    return write_sparse_gguf(path, metadata_of(name, layers) | vocabulary, tensors_of(name, layers))


_BYTES = (chr(code) if 33 <= code < 127 else chr(256 + code) for code in range(256))
_TOKENS = [*_BYTES, "<unk>", "<s>", "</s>", "<|endoftext|>"]


@cache
def recorded_plans(*, unseen: bool = False) -> list[Plan]:
    """Every recorded plan; with ``unseen``, those in settings that were never looked at while the rules were written."""
    recorded = json.loads((_FOLDER / ("planner_unseen.json" if unseen else "planner.json")).read_text())
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
