"""Attention in the compute graph: over a KV cache, over nothing but the batch (encoders), and latent attention (MLA).

Source: ``build_attn`` and ``build_attn_mha`` in ``src/llama-graph.cpp``, ``src/models/deepseek2.cpp``.
"""

from __future__ import annotations

from models_app.estimator.cache_inputs import Caches
from models_app.estimator.graph import Graph, Plan
from models_app.estimator.indexer_graph import Indexer
from models_app.estimator.rope import uses_rope
from models_app.estimator.shape import Layer
from models_app.estimator.tape import Node

_VALUE_NORM = frozenset({"gemma3n", "gemma4"})
_GATED_QUERY = frozenset({"qwen3next", "qwen35", "qwen35moe"})


class Attention:
    """Writes the attention of layers onto a graph. Inputs are made when first used, once for each cache."""

    def __init__(self, graph: Graph, positions: Node) -> None:
        self.graph = graph
        self.tape = graph.tape
        self.plan: Plan = graph.plan
        self._positions = positions
        self.flash_nodes: list[tuple[Layer, Node]] = []
        self.caches = Caches(graph)
        self._indexer = Indexer(graph, positions)

    def write(self, layer: Layer, normed: Node) -> Node:
        """Attention with the projection of its result."""
        write = self._latent if "attn_kv_a_mqa.weight" in layer.tensors else self._usual
        return self.graph.project(write(layer, normed), layer, "attn_output.weight")

    def _usual(self, layer: Layer, normed: Node) -> Node:
        tape, tokens = self.tape, self.plan.tokens
        query_shape = (layer.key_length, layer.head_count, tokens)
        key_shape = (layer.key_length, layer.kv_head_count, tokens)
        query, key, value = self._projections(layer, normed)
        gate = None
        if self.plan.name in _GATED_QUERY:
            gate = tape.op((layer.key_length * layer.head_count, tokens), query)
        query = self._prepare(layer, query, query_shape, "attn_q_norm.weight")
        if key is None or value is None:
            keys, values = self.caches.stored(layer, self.caches.of(layer).cells)
            return self._attend(layer, query, keys, values)
        key = self._prepare(layer, key, key_shape, "attn_k_norm.weight")
        if self.plan.name in _VALUE_NORM:
            value_shape = (layer.value_length, layer.kv_head_count, tokens)
            value = tape.op(value_shape, tape.view(value, value_shape), in_place=True)
        result = self._attend(layer, *self._store(layer, query, key, value))
        return result if gate is None else tape.op(result.shape, result, self.graph.norm(gate), in_place=True)

    def _projections(self, layer: Layer, normed: Node) -> tuple[Node, Node | None, Node | None]:
        tape, graph = self.tape, self.graph
        if "attn_qkv.weight" in layer.tensors:
            fused = graph.project(normed, layer, "attn_qkv.weight")
            widths = (layer.key_length * layer.head_count, layer.kv_key_width, layer.kv_value_width)
            parts = [tape.part(fused, (width, self.plan.tokens)) for width in widths]
            if not self.plan.profile.one_step_gates:
                parts = [tape.op(part.shape, part) for part in parts]
            query, key, value = parts
            return query, key, value
        query = graph.project(normed, layer, "attn_q.weight")
        if not layer.keeps_kv and not self.plan.is_encoder:
            return query, None, None
        key = graph.project(normed, layer, "attn_k.weight")
        value = graph.project(normed, layer, "attn_v.weight") if "attn_v.weight" in layer.tensors else key
        return query, key, value

    def _prepare(self, layer: Layer, source: Node, shape: tuple[int, ...], norm: str) -> Node:
        """The optional norm of the heads, then RoPE."""
        normed = layer.tensors.get(norm)
        if normed is not None and normed.elements == shape[0] * shape[1] != shape[0] and len(normed.shape) == 1:
            source, normed = self.graph.layer_norm(source, layer, norm), None  # one norm over all heads
        source = self.tape.view(source, shape)
        if normed is not None:
            source = self.graph.layer_norm(source, layer, norm)
        if not uses_rope(self.plan.name, layer):
            return source
        return self.tape.op(shape, source, self._positions, in_place=True)

    def _store(self, layer: Layer, query: Node, key: Node, value: Node) -> tuple[Node, Node, Node]:
        """Rotate, write K and V to the cache, and return what the attention reads: queries, keys and values."""
        cache, tape = self.caches.of(layer), self.tape
        fused = "attn_qkv.weight" in layer.tensors
        if cache.key_rotation is not None:
            query = self._hadamard(query, layer.key_length * layer.head_count, cache.key_rotation)
            key = self._hadamard(key, layer.kv_key_width, cache.key_rotation)
        if cache.value_rotation is not None:
            if fused:
                value = tape.op((layer.kv_value_width, self.plan.tokens), value)
            value = self._hadamard(value, layer.kv_value_width, cache.value_rotation)
        for node in (query, key, value) if self.plan.shape.window_size else (query, value, key):
            tape.expand(node)
        if cache.key_index is None or cache.value_index is None:
            return (query, *self._uncached(layer, key, value))
        device = self.caches.device(layer)
        tape.expand(tape.store(tape.view(key), cache.key_index, device=device))
        if fused and not self.plan.flash:
            value = tape.op((layer.kv_value_width, self.plan.tokens), value)
        tape.expand(tape.store(tape.view(value), cache.value_index, device=device))
        keys, values = self.caches.stored(layer, cache.cells)
        return query, keys, values

    def _uncached(self, layer: Layer, key: Node, value: Node) -> tuple[Node, Node]:
        """Encoders attend to the batch itself: K and V become f16, or V is transposed."""
        tape, tokens = self.tape, self.plan.tokens
        if not self.plan.flash:
            return tape.view(key), tape.op((layer.kv_value_width, tokens), value)
        key = tape.op((layer.kv_key_width, tokens), key, width=2)
        return key, tape.op((layer.kv_value_width, tokens), value, width=2)

    def _hadamard(self, source: Node, width: int, rotation: Node) -> Node:
        size = rotation.shape[0]
        wide = (size, width * self.plan.tokens // size)
        return self.tape.view(self.tape.op(wide, self.tape.view(source, wide), rotation))

    def _attend(self, layer: Layer, query: Node, keys: Node, values: Node) -> Node:
        """The result of all heads side by side."""
        tape, width = self.tape, self._result_width(layer)
        write = self._attend_with_flash if self.plan.flash else self._attend_without
        result = write(layer, tape.view(query), keys, values)
        tape.expand(result)
        rotation = self.caches.of(layer).value_rotation
        if rotation is not None:
            result = self._hadamard(result, width, rotation)
        return tape.view(result, (width, self.plan.tokens))

    def _attend_with_flash(self, layer: Layer, query: Node, keys: Node, values: Node) -> Node:
        tape, cache = self.tape, self.caches.of(layer)
        shape = (self._value_length(layer), layer.head_count, self.plan.tokens)
        scratch = self.caches.scratch_bytes(layer, cache.cells)
        result = tape.op(shape, query, keys, values, self._indexer.masked(layer, cache), extra=scratch)
        result.host_only = self.plan.attends_on_host
        self.flash_nodes.append((layer, result))
        return self._decompressed(layer, result) or result

    def _attend_without(self, layer: Layer, query: Node, keys: Node, values: Node) -> Node:
        tape, plan, cache = self.tape, self.plan, self.caches.of(layer)
        tokens, streams, heads = plan.tokens // plan.context.streams, plan.context.streams, layer.head_count
        mask = self._indexer.masked(layer, cache)
        scores = tape.op((cache.cells, tokens, heads, streams), keys, query)
        scores = tape.op(scores.shape, scores, mask, in_place=True)
        if not plan.transposes_values and not plan.is_encoder:
            length = self._value_length(layer)
            values = tape.op((cache.cells, length, layer.kv_head_count, streams), values, width=2)
        weighted = tape.op((self._value_length(layer), tokens, heads, streams), values, scores)
        if plan.shape.is_mla:
            weighted = tape.op((plan.shape.latent_value_length, tokens, heads, streams), weighted)
        return tape.op((self._result_width(layer), plan.tokens), tape.view(weighted))

    def _value_length(self, layer: Layer) -> int:
        is_latent = self.plan.shape.is_mla and self.plan.profile.mla_keeps_k_only
        return self.plan.shape.kv_lora_rank if is_latent else layer.value_length

    def _decompressed(self, layer: Layer, result: Node) -> Node | None:
        """MLA's way back from the latent to the heads."""
        if not self.plan.shape.is_mla:
            return None
        shape = (self.plan.shape.latent_value_length, self.plan.tokens, layer.head_count)
        heads = self.graph.product(shape, layer, "attn_v_b.weight", self.tape.view(result))
        return self.tape.view(self.tape.op(shape, self.tape.view(heads)))

    def _result_width(self, layer: Layer) -> int:
        value_length = self.plan.shape.latent_value_length if self.plan.shape.is_mla else layer.value_length
        return value_length * layer.head_count

    def _latent(self, layer: Layer, normed: Node) -> Node:
        """Latent attention (DeepSeek-V2 and its kin), absorbed where the file was converted for it."""
        plan, tape, graph, tokens = self.plan, self.tape, self.graph, self.plan.tokens
        if "attn_q_a.weight" in layer.tensors:
            query = graph.project(normed, layer, "attn_q_a.weight")
            query = graph.layer_norm(query, layer, "attn_q_a_norm.weight")
            self._indexer.write(layer, query, normed, self.caches.of(layer).cells)
            query = graph.project(query, layer, "attn_q_b.weight")
        else:
            query = graph.project(normed, layer, "attn_q.weight")
        latent = graph.project(normed, layer, "attn_kv_a_mqa.weight")
        rank, rope, heads = plan.shape.kv_lora_rank, plan.shape.rope_length, layer.head_count
        key_rope = tape.op((rope, 1, tokens), tape.view(latent), self._positions)
        compressed = graph.layer_norm(tape.part(latent, (rank, tokens)), layer, "attn_kv_a_norm.weight")
        if plan.shape.is_mla:
            query_rope = tape.op((rope, heads, tokens), tape.view(query), self._positions)
            absorbed = graph.product((rank, tokens, heads), layer, "attn_k_b.weight", tape.view(query))
            query = tape.op((rank + rope, heads, tokens), tape.view(absorbed), query_rope)
            value = tape.view(compressed)
            key = tape.op((rank + rope, 1, tokens), value, key_rope)
        else:
            both = graph.project(compressed, layer, "attn_kv_b.weight")
            value = tape.op((layer.value_length, heads, tokens), tape.view(both))
            query = tape.op((layer.key_length, heads, tokens), tape.view(query), self._positions)
            repeated = tape.op((rope, heads, tokens), key_rope)
            key = tape.op((layer.key_length, heads, tokens), tape.view(both), repeated)
        return self._attend(layer, *self._store_latent(layer, query, key, value))

    def _store_latent(self, layer: Layer, query: Node, key: Node, value: Node) -> tuple[Node, Node, Node]:
        if not self.plan.shape.is_mla:
            return self._store(layer, query, key, value)
        cache, tape = self.caches.of(layer), self.tape
        for node in (query, value, key):
            tape.expand(node)
        if cache.key_index is not None:
            tape.expand(tape.store(tape.view(key), cache.key_index, device=self.caches.device(layer)))
        keys, values = self.caches.stored(layer, cache.cells)
        return query, keys, values
