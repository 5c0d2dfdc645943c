"""Bytes of the compute buffers: one graph for each GPU, and the inputs in host RAM.

Source: ``llama_context::sched_reserve`` and ``ggml_backend_sched_split_graph`` of llama.cpp.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from models_app.estimator.allocator import peak_bytes
from models_app.estimator.altup_graph import ROUTER, AlternatingUpdates
from models_app.estimator.attention_graph import Attention
from models_app.estimator.block_graph import Block
from models_app.estimator.cache_inputs import input_copies
from models_app.estimator.flash import is_automatic
from models_app.estimator.graph import SMALLEST_OFFLOADED_BATCH, Graph, Plan
from models_app.estimator.layer_kinds import Group, group_kinds, layer_groups, looks_ahead
from models_app.estimator.per_layer_graph import PER_LAYER_WEIGHT, PerLayerEmbeddings, adds_own_embedding
from models_app.estimator.placement import HOST
from models_app.estimator.recurrent_graph import Recurrence
from models_app.estimator.repeats import Repeats, find_repeats, none_repeated
from models_app.estimator.scheduler import devices
from models_app.estimator.shape import Layer
from models_app.estimator.steps import IrregularGraph
from models_app.estimator.tape import Node

_SCALED_EMBEDDINGS = ("gemma", "granite", "minicpm", "grok")


def compute_by_device(plan: Plan) -> tuple[Plan, Counter[int]]:
    """Bytes of the compute buffer by device number, and the plan with llama.cpp's own choice about flash attention.

    Raises ``UnfamiliarGraph`` where the layers' tensors are of no known make.
    """
    trunk = _written(plan, plan.shape.trunk)
    if plan.flash and is_automatic(plan.settings) and _flash_attention_strays(plan, trunk):
        plan = replace(plan, flash=False)
        trunk = _written(plan, plan.shape.trunk)
    total = _peaks(trunk)
    drafting = [layer for layer in plan.shape.layers if layer.is_mtp]
    if plan.settings.draft_length and drafting:
        total += _peaks(_written(plan, drafting))
    return plan, total


def _written(plan: Plan, layers: Sequence[Layer]) -> _Writer:
    groups = layer_groups(layers)
    return _Writer(plan, groups, find_repeats(group_kinds(plan, groups), looks_ahead(plan, groups)))


def _peaks(writer: _Writer) -> Counter[int]:
    """From the layers that stand for all others; from all where the graph is not as regular as the layers look."""
    try:
        return writer.peaks()
    except IrregularGraph:
        return writer.without_repeats().peaks()


def _flash_attention_strays(plan: Plan, writer: _Writer) -> bool:
    """Whether flash attention of a layer would run on another device than the layer's, so that llama.cpp turns it off.

    It looks at a batch of one token a slot. Only neighbours whose states lie elsewhere draw an operation away.
    """
    placement = plan.placement
    mixed = HOST in placement.layers or not plan.settings.kv_offload
    if not (placement.gpu_count and mixed and any(layer.keeps_state for layer in plan.shape.trunk)):
        return False
    return writer.flash_strays(fetches_weights=plan.context.slots >= SMALLEST_OFFLOADED_BATCH)


class _Writer:
    """Writes down the whole graph of a micro-batch."""

    def __init__(self, plan: Plan, groups: Sequence[Group], repeats: Repeats) -> None:
        self._plan = plan
        self._all_groups = groups
        self._groups = [groups[index] for index in repeats.written]
        self._repeats = repeats
        self._graph = Graph(plan)
        self._block = Block(self._graph)
        self._write()

    def peaks(self) -> Counter[int]:
        """The peaks of the buffers in bytes, by device number. Raises ``IrregularGraph``."""
        plan = self._plan
        return Counter(peak_bytes(self._graph.tape, plan.placement.gpu_count, input_copies(plan), self._repeats))

    def without_repeats(self) -> _Writer:
        """The same graph with all layers."""
        return _Writer(self._plan, self._all_groups, none_repeated(len(self._all_groups)))

    def flash_strays(self, *, fetches_weights: bool) -> bool:
        """Whether any layer's flash attention is computed elsewhere than the layer."""
        found = devices(self._graph.tape.nodes, fetches_weights=fetches_weights)
        layers = self._plan.placement.layers
        return any(found[node] != layers[layer.index] for layer, node in self._attention.flash_nodes)

    def _write(self) -> None:
        graph, plan, groups = self._graph, self._plan, self._groups
        hidden = self._embeddings()
        rows = graph.input(plan.context.output_rows)
        self._attention = Attention(graph, graph.input(plan.tokens))
        self._recurrence = Recurrence(graph, graph.input(plan.context.slots))
        has_own = PER_LAYER_WEIGHT in plan.shape.other_tensors
        self._own_embeddings = PerLayerEmbeddings(graph, hidden) if has_own else None
        if self._own_embeddings is not None and ROUTER in groups[0][0].tensors:
            updates = AlternatingUpdates(graph, self._attention, self._own_embeddings)
            hidden = updates.start(hidden, groups[0][0])
            graph.tape.end_section(hidden)
            for group in groups:
                for layer in group:
                    hidden = updates.layer(layer, hidden)
                graph.tape.end_section(hidden)
            self._block.finish(updates.finish(hidden, rows), rows)
            return
        graph.tape.end_section(hidden)
        for group in groups:
            for layer in group:
                is_last = layer is groups[-1][-1] and not self._block.picks_after_norm
                hidden = self._layer(layer, hidden, rows if is_last else None)
            graph.tape.end_section(hidden)
        self._block.finish(hidden, rows)

    def _embeddings(self) -> Node:
        """The rows of the token embeddings, which host RAM looks up."""
        graph, plan = self._graph, self._plan
        shape = (plan.shape.embedding_length, plan.tokens)
        if plan.profile.ready_embeddings:
            graph.input(*shape).pinned = True  # a place for embeddings that come ready-made
        hidden = graph.tape.op(shape, graph.input(plan.tokens), device=HOST)
        if plan.is_encoder:
            hidden = self._encoder_embeddings(hidden)
        if plan.name.startswith(_SCALED_EMBEDDINGS):
            hidden = graph.norm(hidden)
        graph.tape.expand(hidden)
        return hidden

    def _encoder_embeddings(self, hidden: Node) -> Node:
        """The sum of the embeddings of token, type and position, normalised."""
        graph, tape, others = self._graph, self._graph.tape, self._plan.shape.other_tensors
        if "token_types.weight" in others:
            hidden = graph.add(hidden, tape.outside(4 * hidden.shape[0], HOST))
            hidden.host_only = others["token_types.weight"].type.is_quantized
        if "position_embd.weight" in others:
            hidden = graph.add(tape.op(hidden.shape, graph.input(self._plan.tokens), device=HOST), hidden)
        if "token_embd_norm.weight" in others:
            normed = tape.op(hidden.shape, hidden, device=None)
            device, weight = graph.placed(
                self._plan.placement.layers[0], others["token_embd_norm.weight"], self._plan.tokens
            )
            hidden = tape.op(hidden.shape, normed, *weight, in_place=True, device=device)
        return hidden

    def _layer(self, layer: Layer, hidden: Node, rows: Node | None) -> Node:
        graph = self._graph
        name = "attn_norm.weight"
        normed = graph.layer_norm(hidden, layer, name) if name in layer.tensors else hidden
        mixed = self._mix(layer, hidden, normed)
        if rows is not None:
            mixed, hidden, normed = graph.pick(mixed, rows), graph.pick(hidden, rows), graph.pick(normed, rows)
        hidden = self._block.combine(layer, mixed, hidden, normed)
        if self._own_embeddings is not None and adds_own_embedding(layer):
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
        if "attn_norm_2.weight" in layer.tensors and not self._plan.is_encoder:
            return self._attention.write(layer, graph.layer_norm(hidden, layer, "attn_norm_2.weight"))
        if "attn_output.weight" in layer.tensors:
            return self._attention.write(layer, normed)
        return self._block.feed_forward.write(layer, normed)
