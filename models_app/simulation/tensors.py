"""The tensors of the catalogue's models: names, types and shapes as the files of the real ones have them.

The mixtures of types are those of llama.cpp's quantiser (``llama-quant.cpp``, ``llama_tensor_get_type``): of Q4_K_M half
of the layers keep their values and their way down in Q6_K, as does the output.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from math import prod

from models_app.gguf.tensor_types import TENSOR_TYPES_BY_NAME
from models_app.simulation.catalogue import SimulatedModel

EXPERTS, EXPERTS_USED = 32, 4
"""Of gpt-oss:20b, the catalogue's one mixture of experts."""
ENCODERS = frozenset({"bert", "nomic-bert"})
INPUTS = frozenset({"token_embd.weight", "token_types.weight", "position_embd.weight"})

Tensor = tuple[str, str, list[int]]
"""Name, type and shape, the elements of a row first."""


def tensors(model: SimulatedModel) -> list[Tensor]:
    """Every tensor of the model's file."""
    if model.architecture in ENCODERS:
        return list(_encoder(model))
    return list(_decoder(model))


@cache
def gpu_weights_bytes(model: SimulatedModel) -> int:
    """Bytes of the tensors that go to GPUs: all but the inputs, which stay on the CPU, or lie on both if they are tied."""
    listed = tensors(model)
    stays = frozenset() if model.tied_embeddings else INPUTS
    return sum(_size_bytes(kind, shape) for name, kind, shape in listed if name not in stays)


def _size_bytes(kind: str, shape: list[int]) -> int:
    return TENSOR_TYPES_BY_NAME[kind].row_bytes(prod(shape))


def _decoder(model: SimulatedModel) -> Iterator[Tensor]:
    width = model.embedding_length
    if not model.tied_embeddings:
        yield "output.weight", _outer(model, "Q6_K"), [width, model.vocabulary_size]
    yield "output_norm.weight", "F32", [width]
    yield "token_embd.weight", _outer(model, "Q6_K" if model.tied_embeddings else "Q4_K"), [width, model.vocabulary_size]
    for layer in range(model.layers):
        for name, kind, shape in [*_attention(model, layer), *_feed_forward(model, layer)]:
            yield f"blk.{layer}.{name}", kind, shape


def _attention(model: SimulatedModel, layer: int) -> Iterator[Tensor]:
    width, rows, kv_rows = model.embedding_length, model.head_count * model.head_size, model.kv_heads * model.head_size
    matrix, careful = _matrix(model), _careful(model, layer)
    yield "attn_norm.weight", "F32", [width]
    if model.architecture == "phi3":
        yield "attn_qkv.weight", _matrix(model, "Q5_K"), [width, rows + 2 * kv_rows]
    else:
        yield "attn_q.weight", matrix, [width, rows]
        yield "attn_k.weight", matrix, [width, kv_rows]
        yield "attn_v.weight", careful, [width, kv_rows]
    yield "attn_output.weight", matrix, [rows, width]
    if model.architecture in {"qwen2", "gptoss"}:
        yield from ((f"attn_{part}.bias", "F32", [size]) for part, size in (("q", rows), ("k", kv_rows), ("v", kv_rows)))
    if model.architecture in {"qwen3", "gemma3"}:
        yield from ((f"attn_{part}_norm.weight", "F32", [model.head_size]) for part in ("q", "k"))
    if model.architecture == "gemma3":
        yield from ((f"post_{part}_norm.weight", "F32", [width]) for part in ("attention", "ffw"))
    if model.architecture == "gptoss":
        yield "attn_output.bias", "F32", [width]
        yield "attn_sinks.weight", "F32", [model.head_count]


def _feed_forward(model: SimulatedModel, layer: int) -> Iterator[Tensor]:
    width, inner = model.embedding_length, model.feed_forward_length
    if model.architecture == "gptoss":
        yield "post_attention_norm.weight", "F32", [width]
        yield "ffn_gate_inp.weight", "F32", [width, EXPERTS]
        yield "ffn_gate_inp.bias", "F32", [EXPERTS]
        for part, shape in (("gate", [width, inner]), ("up", [width, inner]), ("down", [inner, width])):
            yield f"ffn_{part}_exps.weight", "MXFP4", [*shape, EXPERTS]
            yield f"ffn_{part}_exps.bias", "F32", [shape[1], EXPERTS]
        return
    yield "ffn_norm.weight", "F32", [width]
    if model.architecture == "phi3":
        yield "ffn_up.weight", _matrix(model), [width, 2 * inner]
    else:
        yield "ffn_gate.weight", _matrix(model), [width, inner]
        yield "ffn_up.weight", _matrix(model), [width, inner]
    yield "ffn_down.weight", _careful(model, layer), [inner, width]


def _encoder(model: SimulatedModel) -> Iterator[Tensor]:
    width, inner, is_nomic = model.embedding_length, model.feed_forward_length, model.architecture == "nomic-bert"
    yield "token_embd.weight", "F16", [width, model.vocabulary_size]
    yield "token_types.weight", "F32", [width, 2 if is_nomic else 1]
    yield from ((f"token_embd_norm.{part}", "F32", [width]) for part in ("weight", "bias"))
    if not is_nomic:
        yield "position_embd.weight", "F16", [width, model.training_context]
    matrices = [("attn_output", width, width), ("ffn_up", width, inner), ("ffn_down", inner, width)]
    if is_nomic:
        matrices += [("attn_qkv", width, 3 * width), ("ffn_gate", width, inner)]
    else:
        matrices += [(f"attn_{part}", width, width) for part in "qkv"]
    for layer in range(model.layers):
        for name, columns, rows in matrices:
            yield f"blk.{layer}.{name}.weight", "F16", [columns, rows]
            if not is_nomic:
                yield f"blk.{layer}.{name}.bias", "F32", [rows]
        for norm in ("attn_output_norm", "layer_output_norm"):
            yield from ((f"blk.{layer}.{norm}.{part}", "F32", [width]) for part in ("weight", "bias"))


def _matrix(model: SimulatedModel, in_mixture: str = "Q4_K") -> str:
    """The type of a common matrix."""
    if model.architecture == "gptoss":
        return "BF16"
    return in_mixture if model.quantization == "Q4_K_M" else model.quantization


def _careful(model: SimulatedModel, layer: int) -> str:
    """The type of a matrix that the quantiser spares in every third layer, and in the first and last eighth."""
    eighth = model.layers // 8
    is_spared = layer < eighth or layer >= 7 * eighth or (layer - eighth) % 3 == 2
    return _matrix(model, "Q6_K" if is_spared else "Q4_K")


def _outer(model: SimulatedModel, in_mixture: str) -> str:
    """The type of the output matrix or the embedding, which older mixtures spare too."""
    if model.quantization == "Q4_0":
        return "Q6_K" if in_mixture == "Q6_K" else "Q4_0"
    return _matrix(model, in_mixture)
