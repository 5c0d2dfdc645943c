"""Bytes of the compute buffers for layers of no known make."""

from __future__ import annotations

from collections import Counter

from models_app.estimator.cache_inputs import input_copies, rotation_sizes
from models_app.estimator.graph import Plan
from models_app.estimator.per_layer_graph import PER_LAYER_WEIGHT
from models_app.estimator.placement import HOST


def formula_by_device(plan: Plan) -> Counter[int]:
    """A rule of thumb for layers of no known make: the feed-forward stage of a plain transformer, and the masks."""
    widest = max(plan.shape.trunk, key=lambda layer: layer.feed_forward_length)
    heads = widest.head_count * widest.value_length
    row = 3 * widest.feed_forward_length + 2 * plan.shape.embedding_length + heads
    logits = plan.context.output_rows * (plan.shape.vocabulary_size + plan.shape.embedding_length)
    scores = 0 if plan.flash else plan.context.cells * plan.tokens * widest.head_count
    mask_bytes = (2 if plan.flash else 4) * plan.context.cells * plan.tokens
    stage_bytes = 4 * max(plan.tokens * row, logits, scores)
    return Counter({HOST: _host_bytes(plan)}) + Counter(dict.fromkeys(_working_devices(plan), mask_bytes + stage_bytes))


def _host_bytes(plan: Plan) -> int:
    """Bytes of the inputs, which are prepared in host RAM: embeddings, positions, masks, places in the caches."""
    shape, context, tokens = plan.shape, plan.context, plan.tokens
    embeddings = 4 * shape.embedding_length * tokens
    inputs = embeddings * plan.profile.ready_embeddings + 8 * tokens + 4 * context.output_rows
    if PER_LAYER_WEIGHT in shape.other_tensors:
        embeddings += 4 * shape.per_layer_embedding_length * len(shape.trunk) * tokens
    width = 2 if plan.flash and plan.profile.mask_is_f16 else 4
    if plan.is_encoder:
        return embeddings + inputs + width * tokens * tokens * (2 if shape.window_size else 1)
    value_rows = shape.largest_kv_value_width if plan.transposes_values else 1
    value_rows *= plan.profile.indexed_writes
    for windowed, layer in {layer.is_windowed: layer for layer in shape.trunk if layer.keeps_kv}.items():
        cells = context.window_cells if windowed else context.cells
        inputs += width * cells * tokens + 8 * tokens * (1 + value_rows)
        inputs += sum(4 * size * size for size in rotation_sizes(plan, layer))
    if any("indexer.attn_q_b.weight" in layer.tensors for layer in shape.trunk):
        inputs += 2 * context.cells * tokens + 8 * tokens + 4 * shape.indexer_key_length**2
    return embeddings + input_copies(plan) * inputs


def _working_devices(plan: Plan) -> list[int]:
    """The device that computes each layer, and the output: large batches of host layers go to the first GPU."""
    placement = plan.placement
    return [max(device, 0) if placement.gpu_count else HOST for device in (*placement.layers, placement.output)]
