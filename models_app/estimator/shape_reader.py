"""Read a model's dimensions from its header, with llama.cpp's defaults for what the header leaves out.

Source: ``llama_model::load_hparams`` and ``llama-hparams.cpp`` of llama.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from models_app.estimator.architectures import Architecture, Memory, architecture
from models_app.estimator.keys import Keys, UnsupportedModel
from models_app.estimator.shape import Layer, RecurrentShape, Shape, with_makes
from models_app.estimator.types import MissingShape
from models_app.gguf.header import GgufHeader, TensorInfo

MAX_LAYERS = 1024
MAX_EXPERTS_USED = 1024
OTHER_NAMES = {"gptoss": "gpt-oss"}
"""llama.cpp's names of architectures, by those in Ollama's own files."""
_BLOCK = re.compile(r"blk\.([0-9]{1,9})\.(.+)")


def read_shape(header: GgufHeader) -> Shape:
    """The dimensions in a header. Raises ``UnsupportedModel`` or ``MissingShape``."""
    name = header.architecture
    if not name:
        raise UnsupportedModel("The header names no architecture (general.architecture).")
    keys = Keys(name, header.metadata)
    name = OTHER_NAMES.get(name, name)
    facts = architecture(name)
    layer_count, embedding_length = keys.whole("block_count"), keys.whole("embedding_length")
    if not 0 < layer_count <= MAX_LAYERS or embedding_length <= 0:
        raise MissingShape((f"{name}.block_count (1 to {MAX_LAYERS})", f"{name}.embedding_length"))
    if keys.whole("expert_used_count") > MAX_EXPERTS_USED:
        raise UnsupportedModel(f"{name}.expert_used_count exceeds {MAX_EXPERTS_USED}.")
    layer_tensors, other_tensors = _group(header.tensors)
    window_size = _window_size(keys, facts)
    return Shape(
        architecture_name=name,
        architecture=facts,
        embedding_length=embedding_length,
        vocabulary_size=_vocabulary_size(header, keys),
        training_context_length=keys.whole("context_length"),
        window_size=window_size,
        is_mla=bool(keys.whole("attention.key_length_mla") and keys.whole("attention.value_length_mla")),
        is_causal=bool(keys.whole("attention.causal", 1)),
        parallel_residual=bool(keys.whole("use_parallel_residual")),
        pooling_type=keys.whole("pooling_type"),
        expert_count=keys.whole("expert_count"),
        expert_used_count=keys.whole("expert_used_count"),
        per_layer_embedding_length=keys.whole("embedding_length_per_layer_input"),
        rope_length=keys.whole("rope.dimension_count"),
        kv_lora_rank=keys.whole("attention.kv_lora_rank"),
        latent_key_length=keys.whole("attention.key_length_mla"),
        latent_value_length=keys.whole("attention.value_length_mla"),
        recurrent=_recurrent(keys, embedding_length),
        ssm_inner_size=keys.whole("ssm.inner_size"),
        ssm_state_size=keys.whole("ssm.state_size"),
        ssm_group_count=keys.whole("ssm.group_count"),
        ssm_time_step_rank=keys.whole("ssm.time_step_rank"),
        ssm_conv_kernel=keys.whole("ssm.conv_kernel"),
        indexer_key_length=keys.whole("attention.indexer.key_length"),
        indexer_top_k=keys.whole("attention.indexer.top_k"),
        indexer_layers=_indexer_layers(name, keys, layer_count),
        layers=_layers(keys, facts, layer_count, embedding_length, window_size, layer_tensors),
        other_tensors=other_tensors,
    )


def _group(tensors: tuple[TensorInfo, ...]) -> tuple[dict[int, dict[str, TensorInfo]], dict[str, TensorInfo]]:
    layers: dict[int, dict[str, TensorInfo]] = {}
    others: dict[str, TensorInfo] = {}
    for tensor in tensors:
        match = _BLOCK.fullmatch(tensor.name)
        if match:
            layers.setdefault(int(match[1]), {})[match[2]] = tensor
        else:
            others[tensor.name] = tensor
    return layers, others


def _layers(
    keys: Keys,
    facts: Architecture,
    count: int,
    embedding_length: int,
    window_size: int,
    tensors: Mapping[int, Mapping[str, TensorInfo]],
) -> tuple[Layer, ...]:
    trunk_count = count - min(keys.whole("nextn_predict_layers"), count - 1)
    head_counts = keys.per_layer("attention.head_count", count)
    kv_head_counts = keys.per_layer("attention.head_count_kv", count, 0)
    if keys.value("attention.head_count_kv") is None:
        kv_head_counts = head_counts
    feed_forward = keys.per_layer("feed_forward_length", count)
    # every layer's head length comes from the first layer's head count, as in llama.cpp
    default_length = embedding_length // head_counts[0] if head_counts[0] else 0
    key_length = keys.whole("attention.key_length", default_length)
    value_length = keys.whole("attention.value_length", default_length)
    windowed_lengths = (
        keys.whole("attention.key_length_swa", key_length),
        keys.whole("attention.value_length_swa", value_length),
    )
    windowed = _windowed(keys, facts, count, trunk_count) if window_size else [False] * count
    recurrent = _recurrent_layers(keys, facts, kv_head_counts, feed_forward, trunk_count)
    kv_layers = _kv_layers(keys, facts, count)
    mixed = _lists_feed_forward(keys)
    layers = []
    for i in range(count):
        keeps_kv = i < kv_layers and facts.memory not in (Memory.NONE, Memory.RECURRENT)
        if facts.memory is Memory.HYBRID and not facts.state_in_every_layer:
            keeps_kv = not recurrent[i] and kv_head_counts[i] != 0 and not (mixed and feed_forward[i])
        lengths = windowed_lengths if windowed[i] else (key_length, value_length)
        layers.append(
            Layer(
                i,
                head_counts[i],
                kv_head_counts[i],
                feed_forward[i],
                *lengths,
                is_windowed=windowed[i],
                keeps_kv=keeps_kv,
                keeps_state=recurrent[i],
                is_mtp=i >= trunk_count,
                tensors=tensors.get(i, {}),
            )
        )
    return with_makes(layers)


def _lists_feed_forward(keys: Keys) -> bool:
    """Whether some layers of a hybrid are nothing but a feed-forward network (Nemotron-H)."""
    return isinstance(keys.value("feed_forward_length"), tuple)


def _kv_layers(keys: Keys, facts: Architecture, count: int) -> int:
    if facts.kv_layers is not None:
        return facts.kv_layers
    return count - keys.whole("attention.shared_kv_layers")


def _indexer_layers(name: str, keys: Keys, layer_count: int) -> tuple[bool, ...]:
    """Which layers have an indexer of their own. Files of GLM 5.2 that do not say so follow its configuration."""
    if name == "glm-dsa" and keys.value("attention.indexer.types") is None and keys.whole("context_length") >= 1 << 20:
        return tuple(index < 2 or index % 4 == 2 for index in range(layer_count))
    return tuple(bool(full) for full in keys.per_layer("attention.indexer.types", layer_count, 1))


def _window_size(keys: Keys, facts: Architecture) -> int:
    window = facts.window
    if window is None:
        listed = isinstance(keys.value("attention.sliding_window_pattern"), tuple) and not facts.known
        return keys.whole("attention.sliding_window") if listed else 0
    if window.fixed_size and keys.value("attention.sliding_window") != 0:
        return window.size
    return keys.whole("attention.sliding_window", window.size)


def _windowed(keys: Keys, facts: Architecture, count: int, trunk_count: int) -> list[bool]:
    listed = keys.value("attention.sliding_window_pattern")
    if isinstance(listed, tuple):
        return [bool(item) for item in keys.per_layer("attention.sliding_window_pattern", count)]
    window = facts.window
    period = int(listed) if isinstance(listed, int) else (window.period if window else 0)
    global_position = 0 if window and window.global_first else period - 1
    return [i < trunk_count and (period == 0 or i % period != global_position) for i in range(count)]


def _recurrent_layers(
    keys: Keys, facts: Architecture, kv_head_counts: list[int], feed_forward: list[int], trunk_count: int
) -> list[bool]:
    count = len(kv_head_counts)
    if facts.memory is Memory.RECURRENT or facts.state_in_every_layer:
        return [True] * count
    if facts.memory is not Memory.HYBRID:
        return [False] * count
    if isinstance(keys.value("attention.recurrent_layers"), tuple):
        return [bool(item) for item in keys.per_layer("attention.recurrent_layers", count)]
    if facts.default_full_attention_interval:
        interval = keys.whole("full_attention_interval", facts.default_full_attention_interval)
        return [i < trunk_count and (i + 1) % max(1, interval) != 0 for i in range(count)]
    mixed = _lists_feed_forward(keys)
    return [heads == 0 and not (mixed and feed_forward[i]) for i, heads in enumerate(kv_head_counts)]


def _recurrent(keys: Keys, embedding_length: int) -> RecurrentShape:
    """Source: ``llama_hparams::n_embd_r`` and ``n_embd_s``."""
    if head_size := keys.whole("wkv.head_size"):
        return RecurrentShape(keys.whole("token_shift_count", 2) * embedding_length, embedding_length * head_size)
    if cached := keys.whole("shortconv.l_cache"):
        return RecurrentShape(embedding_length * (cached - 1), 0)
    inner, state = keys.whole("ssm.inner_size"), keys.whole("ssm.state_size")
    groups, kernel = keys.whole("ssm.group_count"), keys.whole("ssm.conv_kernel")
    return RecurrentShape(max(0, kernel - 1) * (inner + 2 * groups * state), state * inner)


def _vocabulary_size(header: GgufHeader, keys: Keys) -> int:
    if header.vocabulary_size:
        return header.vocabulary_size
    embedding = next((tensor for tensor in header.tensors if tensor.name == "token_embd.weight"), None)
    return keys.whole("vocab_size", embedding.rows if embedding is not None else 0)
