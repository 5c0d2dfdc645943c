"""Bytes of the compute buffers: one graph for each GPU, and the inputs in host RAM.

Source: ``llama_context::sched_reserve`` and ``ggml_backend_sched_split_graph`` of llama.cpp.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from models_app.estimator.attention_graph import Attention
from models_app.estimator.block_graph import Block
from models_app.estimator.cache_inputs import rotation_sizes
from models_app.estimator.graph import Graph, Plan, steady_layers
from models_app.estimator.per_layer_graph import PER_LAYER_WEIGHT, PerLayerEmbeddings
from models_app.estimator.placement import HOST
from models_app.estimator.recurrent_graph import Recurrence
from models_app.estimator.shape import Layer
from models_app.estimator.tape import Node
from models_app.estimator.types import cache_type

_PIPELINE_COPIES = 4


def compute_by_device(plan: Plan) -> Counter[int]:
    """Bytes of the compute buffer by device number. Layers in host RAM are computed on the first GPU, if there is one.

    Raises ``UnfamiliarGraph`` where the layers' tensors are of no known make.
    """
    total: Counter[int] = Counter({HOST: host_bytes(plan)} if plan.placement.gpu_count else {})
    working = _working_devices(plan)
    for device in sorted(set(working)):
        layers = [layer for layer in plan.shape.trunk if working[layer.index] == device]
        total[device] += _DeviceGraph(plan, device == working[0], working[-1] == device).run(layers)
    drafting = [layer for layer in plan.shape.layers if layer.is_mtp]
    if plan.settings.draft_length and drafting:
        total[working[-1]] += _DeviceGraph(plan, is_first=True, is_last=True).run(drafting)
    return total


def formula_by_device(plan: Plan) -> Counter[int]:
    """A rule of thumb for layers of no known make: the feed-forward stage of a plain transformer, and the masks."""
    widest = max(plan.shape.trunk, key=lambda layer: layer.feed_forward_length)
    heads = widest.head_count * widest.value_length
    row = 3 * widest.feed_forward_length + 2 * plan.shape.embedding_length + heads
    logits = plan.context.output_rows * (plan.shape.vocabulary_size + plan.shape.embedding_length)
    scores = 0 if plan.flash else plan.context.cells * plan.tokens * widest.head_count
    mask_bytes = (2 if plan.flash else 4) * plan.context.cells * plan.tokens
    stage_bytes = 4 * max(plan.tokens * row, logits, scores)
    return Counter({HOST: host_bytes(plan)}) + Counter(dict.fromkeys(_working_devices(plan), mask_bytes + stage_bytes))


def host_bytes(plan: Plan) -> int:
    """Bytes of the inputs, which are prepared in host RAM: embeddings, positions, masks, places in the caches."""
    shape, context, tokens = plan.shape, plan.context, plan.tokens
    embeddings = 4 * shape.embedding_length * tokens
    inputs = embeddings * plan.profile.ready_embeddings + 8 * tokens + 4 * context.output_rows
    if PER_LAYER_WEIGHT in shape.other_tensors:
        embeddings += 4 * shape.per_layer_embedding_length * len(shape.trunk) * tokens
    width = 2 if plan.flash and plan.profile.mask_is_f16 else 4
    if plan.is_encoder:
        return embeddings + inputs + width * tokens * tokens * (2 if shape.window_size else 1)
    value_rows = 1 if plan.flash else shape.largest_kv_value_width
    value_rows *= plan.profile.indexed_writes
    for windowed, layer in {layer.is_windowed: layer for layer in shape.trunk if layer.keeps_kv}.items():
        cells = context.window_cells if windowed else context.cells
        inputs += width * cells * tokens + 8 * tokens * (1 + value_rows)
        inputs += sum(4 * size * size for size in rotation_sizes(plan, layer))
    if any("indexer.attn_q_b.weight" in layer.tensors for layer in shape.trunk):
        inputs += 2 * context.cells * tokens + 8 * tokens + 4 * shape.indexer_key_length**2
    once = max(embeddings, _written_cache_bytes(plan))
    return once + _input_copies(plan) * inputs + (_fetched_cache_bytes(plan) if plan.attends_on_host else 0)


def _written_cache_bytes(plan: Plan) -> int:
    """What a GPU sends to the widest cache in host RAM: K and V of every token, before they take the cache's type."""
    devices = plan.placement.layers
    kept = (layer for layer in plan.shape.trunk if layer.keeps_kv and not plan.shape.is_mla)
    on_host = (layer for layer in kept if not plan.settings.kv_offload or devices[layer.index] == HOST)
    widths = (layer.kv_key_width + layer.kv_value_width for layer in on_host)
    return 4 * plan.tokens * max(widths, default=0)


def _fetched_cache_bytes(plan: Plan) -> int:
    """One layer's K and V, copied to the host for an attention that the CPU computes."""
    settings, context = plan.settings, plan.context
    key, value = cache_type(settings.cache_type_k), cache_type(settings.cache_type_v)
    rows = context.cells * context.streams
    sizes = (key.row_bytes(layer.kv_key_width) + value.row_bytes(layer.kv_value_width) for layer in plan.shape.trunk)
    return rows * max(sizes)


def _working_devices(plan: Plan) -> list[int]:
    """The device that computes each layer, and the output: large batches of host layers go to the first GPU."""
    placement = plan.placement
    return [max(device, 0) if placement.gpu_count else HOST for device in (*placement.layers, placement.output)]


def _input_copies(plan: Plan) -> int:
    """Pipelines over several GPUs keep copies of every input."""
    pipelined = plan.placement.gpu_count > 1 and plan.placement.is_full and plan.settings.kv_offload
    return _PIPELINE_COPIES if pipelined else 1


class _DeviceGraph:
    """The part of the graph that one device computes."""

    def __init__(self, plan: Plan, is_first: bool, is_last: bool) -> None:
        self._plan = plan
        self._is_first, self._is_last = is_first, is_last
        self._graph = Graph(plan, _input_copies(plan))
        self._block = Block(self._graph)

    def run(self, layers: Sequence[Layer]) -> int:
        """The peak of the buffer in bytes."""
        graph, plan, tape = self._graph, self._plan, self._graph.tape
        hidden = self._embeddings()
        normed = None if self._is_first else graph.input(plan.shape.embedding_length, plan.tokens)
        rows = graph.input(plan.context.output_rows)
        self._attention = Attention(graph, graph.input(plan.tokens), len(layers))
        self._recurrence = Recurrence(graph, graph.input(plan.context.slots))
        has_own = PER_LAYER_WEIGHT in plan.shape.other_tensors
        self._own_embeddings = PerLayerEmbeddings(graph, hidden, self._is_first) if has_own else None
        for layer in steady_layers(plan, layers):
            last = self._is_last and layer is layers[-1] and not self._block.picks_after_norm
            hidden = self._layer(layer, hidden, normed, rows if last else None)
            normed = None
        if self._is_last:
            self._block.finish(hidden, rows)
        else:
            tape.expand(graph.norm(hidden))
            tape.expand(tape.store(hidden))
        return tape.peak_bytes()

    def _embeddings(self) -> Node:
        """The rows of the token embeddings: host RAM looks them up, in a graph of its own where there is a GPU."""
        shape = (self._plan.shape.embedding_length, self._plan.tokens)
        if self._plan.placement.gpu_count:
            return self._graph.input(*shape)
        ready = self._graph.input(*shape, width=4 * self._plan.profile.ready_embeddings)
        ready.pinned = True  # A graph of this profile has a place for embeddings that come ready-made.
        return self._graph.tape.op(shape, self._graph.input(self._plan.tokens), ready)

    def _layer(self, layer: Layer, hidden: Node, normed: Node | None, rows: Node | None) -> Node:
        graph = self._graph
        if "attn_norm.weight" not in layer.tensors:
            normed = hidden
        normed = graph.layer_norm(hidden, layer, "attn_norm.weight") if normed is None else normed
        mixed = self._mix(layer, hidden, normed)
        if rows is not None:
            mixed, hidden, normed = graph.pick(mixed, rows), graph.pick(hidden, rows), graph.pick(normed, rows)
        hidden = self._block.combine(layer, mixed, hidden, normed)
        if self._own_embeddings is not None and "inp_gate.weight" in layer.tensors:
            hidden = self._own_embeddings.write(layer, hidden)
        return hidden

    def _mix(self, layer: Layer, hidden: Node, normed: Node) -> Node:
        """Attention, recurrence, or both side by side; Nemotron-H has layers with neither."""
        graph = self._graph
        if layer.keeps_kv and layer.keeps_state:
            attended = self._attention.write(layer, normed)
            return graph.add(attended, self._recurrence.write(layer, graph.norm(hidden)))
        if layer.keeps_state:
            return self._recurrence.write(layer, normed)
        if "attn_norm_2.weight" in layer.tensors:
            return self._attention.write(layer, graph.norm(hidden))
        if "attn_output.weight" in layer.tensors:
            return self._attention.write(layer, normed)
        return self._block.feed_forward.write(layer, normed)
