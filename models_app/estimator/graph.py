"""The compute graph of one micro-batch, written down as llama.cpp builds it, to find the size of its buffer.

Source: ``llm_graph_context`` (``src/llama-graph.cpp``) and the graphs in ``src/models``. Which operations a layer has is read
from its tensors, so that an architecture of a familiar make needs no code of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models_app.estimator.architectures import Memory
from models_app.estimator.cache import value_width
from models_app.estimator.context import Context
from models_app.estimator.profiles import BuildProfile
from models_app.estimator.shape import Layer, Shape
from models_app.estimator.tape import Node, Tape
from models_app.estimator.types import LoadSettings, cache_type

_SOFT_CAPPED = frozenset({"gemma2", "grok"})
_OUTPUT_PICKED_AFTER_NORM = frozenset({"qwen35", "qwen35moe", "qwen3next"})
_RESIDUAL_AFTER_FFN = frozenset({"command-r", "cohere2", "cohere2moe"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What every part of a graph needs to know."""

    shape: Shape
    settings: LoadSettings
    context: Context
    profile: BuildProfile
    flash: bool

    @property
    def tokens(self) -> int:
        """Tokens of the micro-batch."""
        return self.context.ubatch

    @property
    def name(self) -> str:
        """The architecture's name."""
        return self.shape.architecture_name


@dataclass(slots=True)
class CacheInputs:
    """The inputs of one KV cache: its mask, where to write, and the rotations of a quantised cache."""

    mask: Node
    key_index: Node
    value_index: Node
    key_rotation: Node | None
    value_rotation: Node | None
    cells: int


class GraphBuilder:
    """Writes one graph onto a tape, layer by layer."""

    def __init__(self, plan: Plan, tape: Tape) -> None:
        self.plan = plan
        self.tape = tape
        self.positions = tape.input(plan.tokens)
        self._caches: dict[bool, CacheInputs] = {}

    def run(self, layers: Sequence[Layer], with_output: bool) -> int:
        """Bytes of the buffer of ``layers``, whose hidden states arrive from another device."""
        plan, tape = self.plan, self.tape
        hidden = tape.input(plan.shape.embedding_length, plan.tokens)
        rows = tape.input(plan.context.output_rows)
        for layer in layers:
            last = with_output and layer is layers[-1]
            hidden = self.layer(layer, hidden, rows if last and plan.name not in _OUTPUT_PICKED_AFTER_NORM else None)
        if with_output:
            self._output(hidden, rows)
        else:
            tape.expand(hidden)
        return tape.peak_bytes()

    def norm(self, source: Node) -> Node:
        """A normalisation with its weights."""
        return self.tape.op(source.shape, source, in_place=True)

    def project(self, source: Node, width: int) -> Node:
        """A matrix product that yields ``width`` elements a token."""
        return self.tape.op((width, *source.shape[1:]), source)

    def pick(self, source: Node, rows: Node) -> Node:
        """Only the rows whose output is wanted."""
        return self.tape.op((source.shape[0], rows.shape[0]), source, rows)

    def add(self, first: Node, second: Node) -> Node:
        """The sum, in the place of one of both where ggml may."""
        return self.tape.op(first.shape, first, second, in_place=True)

    def layer(self, layer: Layer, hidden: Node, rows: Node | None) -> Node:
        """One repeating layer: the mixer, then the feed-forward network, each with its residual."""
        residual = hidden
        normed = self.norm(hidden) if "attn_norm.weight" in layer.tensors else hidden
        mixed = self.mix(layer, normed)
        if rows is not None:
            mixed, residual, normed = self.pick(mixed, rows), self.pick(residual, rows), self.pick(normed, rows)
        if self._is_parallel(layer):
            return self._parallel(layer, mixed, residual, normed)
        if self._normalises_output(layer):
            mixed = self.norm(mixed)
        hidden = self.add(mixed, residual)
        if not _has_ffn(layer):
            return hidden
        has_norm = "ffn_norm.weight" in layer.tensors or "post_attention_norm.weight" in layer.tensors
        source = self.norm(hidden) if has_norm and self.plan.name != "olmo2" else hidden
        output = self.feed_forward(layer, source)
        if "post_ffw_norm.weight" in layer.tensors:
            output = self.norm(output)
        return self.add(output, hidden)

    def mix(self, layer: Layer, normed: Node) -> Node:
        """Attention."""
        return self.attention(layer, normed)

    def attention(self, layer: Layer, normed: Node) -> Node:
        """Self-attention over the KV cache, with the projection of its result."""
        tape, tokens = self.tape, self.plan.tokens
        query_shape = (layer.key_length, layer.head_count, tokens)
        key_shape = (layer.key_length, layer.kv_head_count, tokens)
        if "attn_qkv.weight" in layer.tensors:
            fused = self.project(normed, layer.width("attn_qkv.weight"))
            query, key, value = tape.view(fused), tape.view(fused), tape.view(fused)
        else:
            query = tape.view(self.project(normed, layer.width("attn_q.weight")))
            key = tape.view(self.project(normed, layer.kv_key_width))
            value = tape.view(self.project(normed, layer.kv_value_width))
        query = self._rotate(layer, "attn_q_norm.weight", query, query_shape)
        key = self._rotate(layer, "attn_k_norm.weight", key, key_shape)
        return self.project(self.attend(layer, query, key, value), self.plan.shape.embedding_length)

    def attend(self, layer: Layer, query: Node, key: Node, value: Node) -> Node:
        """Store K and V, then attend; the heads' results side by side."""
        cache = self.cache(layer)
        tape = self.tape
        if cache.key_rotation is not None:
            query, key = self._hadamard(layer.head_count, query, cache), self._hadamard(layer.kv_head_count, key, cache)
        for node in (query, value, key):
            tape.expand(node)
        tape.expand(tape.store(key, cache.key_index))
        tape.expand(tape.store(value, cache.value_index))
        return self._mha(layer, query, cache)

    def _hadamard(self, heads: int, source: Node, cache: CacheInputs) -> Node:
        assert cache.key_rotation is not None
        rotated = self.tape.op((heads, 1, self.plan.tokens), source, cache.key_rotation)
        return self.tape.view(rotated)

    def _rotate(self, layer: Layer, norm: str, source: Node, shape: tuple[int, ...]) -> Node:
        """The optional norm of the heads, then RoPE."""
        tape = self.tape
        if norm in layer.tensors:
            source = tape.op(shape, source, in_place=True)
        return tape.op(shape, source, self.positions, in_place=True)

    def _mha(self, layer: Layer, query: Node, cache: CacheInputs) -> Node:
        tape, streams = self.tape, self.plan.context.streams
        tokens = self.plan.tokens
        query = tape.view(query)
        if self.plan.flash:
            shape = (layer.value_length, layer.head_count, tokens)
            result = tape.op(shape, query, cache.mask, extra=self._scratch_bytes(layer, cache.cells))
            result = tape.view(result)
            result.shape = (layer.value_length * layer.head_count, tokens)
        else:
            scores_shape = (cache.cells, tokens // streams, layer.head_count, streams)
            scores = tape.op(scores_shape, query)
            scores = tape.op(scores_shape, scores, cache.mask, in_place=True)
            heads = tape.op((layer.value_length, tokens // streams, layer.head_count, streams), scores)
            result = tape.op((layer.value_length * layer.head_count, tokens), tape.view(heads))
        tape.expand(result)
        return result

    def _scratch_bytes(self, layer: Layer, cells: int) -> int:
        """The f16 copies of K and V that CUDA's flash attention makes of a cache of another type."""
        if not self.plan.profile.scratch_in_compute_buffer:
            return 0
        settings, plan = self.plan.settings, self.plan
        value = value_width(plan.shape, layer, plan.profile, plan.flash)
        widths = [layer.kv_key_width] if settings.cache_type_k != "f16" else []
        if settings.cache_type_v != "f16":
            widths.append(value)
        return sum(-(-2 * width * cells * plan.context.streams // 128) * 128 for width in widths)

    def feed_forward(self, layer: Layer, source: Node) -> Node:
        """The dense or the expert network, and the shared expert beside it."""
        if "ffn_gate_inp.weight" not in layer.tensors:
            return self.dense(source, layer, "")
        routed = self.experts(layer, source)
        if not layer.width("ffn_up_shexp.weight"):
            return routed
        shared = self.dense(source, layer, "_shexp")
        if "ffn_gate_inp_shexp.weight" in layer.tensors:
            gate = self.project(source, 1)
            shared = self.tape.op(shared.shape, shared, gate, in_place=True)
        return self.add(routed, shared)

    def dense(self, source: Node, layer: Layer, suffix: str) -> Node:
        """A feed-forward network: up, perhaps gated, down."""
        up_width = layer.width(f"ffn_up{suffix}.weight")
        inner = layer.tensors[f"ffn_down{suffix}.weight"].shape[0]
        up = self.project(source, up_width)
        if f"ffn_gate{suffix}.weight" in layer.tensors:
            active = self.tape.op(up.shape, self.project(source, inner), up)
        elif up_width == 2 * inner:
            active = self.tape.op((inner, *source.shape[1:]), up)
        else:
            active = self.tape.op(up.shape, up, in_place=True)
        return self.project(active, layer.tensors[f"ffn_down{suffix}.weight"].shape[1])

    def experts(self, layer: Layer, source: Node) -> Node:
        """The routed experts: every token through ``expert_used_count`` of them, then their weighted sum."""
        tape, used, tokens = self.tape, self.plan.shape.expert_used_count, source.shape[1]
        embedding, count = self.plan.shape.embedding_length, layer.width("ffn_gate_inp.weight")
        logits = self.project(source, count)
        probabilities = tape.op(logits.shape, logits, in_place=True)
        chosen = tape.view(tape.op(logits.shape, probabilities))
        weights = tape.op((1, used, tokens), tape.view(probabilities), chosen)
        tape.expand(weights)
        inner = layer.tensors["ffn_down_exps.weight"].shape[0]
        source = tape.view(source)
        if "ffn_gate_up_exps.weight" in layer.tensors:
            both = tape.op((2 * inner, used, tokens), source, chosen)
            active = tape.op((inner, used, tokens), tape.view(both), tape.view(both))
        else:
            up = tape.op((inner, used, tokens), source, chosen)
            if "ffn_gate_exps.weight" in layer.tensors:
                active = tape.op(up.shape, tape.op(up.shape, source, chosen), up)
            else:
                active = tape.op(up.shape, up, in_place=True)
        results = tape.op((embedding, used, tokens), active, chosen)
        return self._weighted_sum(results, weights, used, tokens)

    def _weighted_sum(self, results: Node, weights: Node, used: int, tokens: int) -> Node:
        tape, embedding = self.tape, self.plan.shape.embedding_length
        weighted = tape.op(results.shape, results, weights, in_place=True)
        tape.expand(weighted)
        parts = [tape.view(weighted) for _ in range(used)]
        for part in parts:
            tape.expand(part)
        total = parts[0]
        for part in parts[1:]:
            total = tape.op((embedding, tokens), total, part, in_place=True)
            tape.expand(total)
        if used == 1:
            total = tape.op((embedding, tokens), total)
        return total

    def cache(self, layer: Layer) -> CacheInputs:
        """The inputs of the cache that ``layer`` uses, made when it is first used."""
        if layer.is_windowed not in self._caches:
            self._caches[layer.is_windowed] = self._cache_inputs(layer)
        return self._caches[layer.is_windowed]

    def _cache_inputs(self, layer: Layer) -> CacheInputs:
        plan, tape = self.plan, self.tape
        context, tokens = plan.context, plan.tokens
        cells = context.window_cells if layer.is_windowed else context.cells
        value_rows = 1 if plan.flash else plan.shape.largest_kv_value_width
        rotated = cache_type(plan.settings.cache_type_k).is_quantized and layer.key_length % 64 == 0
        return CacheInputs(
            key_rotation=tape.input(64, 64) if rotated else None,
            value_rotation=None,
            key_index=tape.input(tokens, width=8),
            value_index=tape.input(tokens * value_rows, width=8),
            mask=tape.input(cells, tokens, width=2 if plan.flash else 4),
            cells=cells,
        )

    def _parallel(self, layer: Layer, mixed: Node, residual: Node, normed: Node) -> Node:
        output = self.feed_forward(layer, normed)
        if self.plan.name in _RESIDUAL_AFTER_FFN:
            return self.add(self.add(output, residual), mixed)
        return self.add(self.add(mixed, output), residual)

    def _is_parallel(self, layer: Layer) -> bool:
        norms = ("ffn_norm.weight", "post_attention_norm.weight", "attn_output_norm.weight")
        return _has_ffn(layer) and not any(name in layer.tensors for name in norms)

    def _normalises_output(self, layer: Layer) -> bool:
        later = ("ffn_norm.weight", "post_ffw_norm.weight")
        return "post_attention_norm.weight" in layer.tensors and any(name in layer.tensors for name in later)

    def _output(self, hidden: Node, rows: Node) -> None:
        plan, tape = self.plan, self.tape
        result = self.norm(hidden) if plan.shape.architecture.memory is not Memory.NONE else hidden
        if plan.name in _OUTPUT_PICKED_AFTER_NORM:
            result = self.pick(result, rows)
        if plan.shape.architecture.memory is not Memory.NONE:
            result = self.project(result, plan.shape.vocabulary_size)
        tape.expand(result)


def _has_ffn(layer: Layer) -> bool:
    return "ffn_down.weight" in layer.tensors or "ffn_down_exps.weight" in layer.tensors
