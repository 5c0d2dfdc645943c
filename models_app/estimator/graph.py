"""The compute graph of one micro-batch, written down as llama.cpp builds it, to find the size of its buffer.

Source: ``llm_graph_context`` (``src/llama-graph.cpp``) and the graphs in ``src/models``. Which operations a layer has is
read from its tensors, so that an architecture of a familiar make needs no code of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from models_app.estimator.architectures import Memory
from models_app.estimator.context import Context
from models_app.estimator.placement import HOST, Placement
from models_app.estimator.profiles import BuildProfile
from models_app.estimator.shape import Layer, Shape
from models_app.estimator.tape import Node, Tape
from models_app.estimator.types import EstimateError, LoadSettings
from models_app.estimator.weights import gpu_bytes
from models_app.gguf.header import TensorInfo

_PICKED_AFTER_NORM = frozenset({"qwen35", "qwen35moe", "qwen3next", "gemma4", "nemotron_h", "nemotron_h_moe"})
_RESIDUAL_AFTER_FFN = frozenset({"command-r", "cohere2", "cohere2moe", "gptneox"})
_RESIDUAL_FIRST = frozenset({"jamba", "lfm2", "lfm2moe"})
_MOST_FUSED_EXPERTS = 15
_MOST_CHOSEN_AMONG = 512
SMALLEST_OFFLOADED_BATCH = 32
"""Tokens from which llama.cpp multiplies on the GPU although the weights are in host RAM."""


class UnfamiliarGraph(EstimateError):
    """The layers are not of a make whose graph can be written down."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What every part of a graph needs to know."""

    shape: Shape
    settings: LoadSettings
    context: Context
    profile: BuildProfile
    placement: Placement
    flash: bool
    attends_on_host: bool = False
    """Whether attention runs on the CPU because the GPU has no kernel for it."""

    @property
    def tokens(self) -> int:
        """Tokens of the micro-batch."""
        return self.context.ubatch

    @property
    def name(self) -> str:
        """The architecture's name."""
        return self.shape.architecture_name

    @property
    def is_encoder(self) -> bool:
        """Whether the model keeps no cache and has no output head."""
        return self.shape.architecture.memory is Memory.NONE


class Graph:
    """A tape with the operations that all layers share."""

    def __init__(self, plan: Plan, input_copies: int) -> None:
        self.plan = plan
        self.tape = Tape()
        self._input_copies = input_copies

    def input(self, *shape: int, width: int = 4) -> Node:
        """A tensor that comes from another device; pipelines keep several copies of it."""
        return self.tape.input(*shape, width=width, copies=self._input_copies)

    def norm(self, source: Node, shape: tuple[int, ...] | None = None) -> Node:
        """A normalisation with its weights, or any other operation on one tensor that ggml may do in place."""
        return self.tape.op(shape or source.shape, source, in_place=True)

    def layer_norm(self, source: Node, layer: Layer, name: str) -> Node:
        """A normalisation with one of the layer's weights, which may have to be fetched."""
        return self.weighted(self.norm(source), layer, name)

    def weighted(self, normed: Node, layer: Layer, name: str) -> Node:
        """The product with a norm's weights: it counts only where they have to be fetched."""
        weights = self.fetched(layer, name, self.tensor(layer, name))
        return self.tape.op(normed.shape, normed, *weights, in_place=True) if weights else normed

    def project(self, source: Node, layer: Layer, name: str) -> Node:
        """The product with one of the layer's matrices."""
        tensor = self.tensor(layer, name)
        return self.tape.op((tensor.rows, *source.shape[1:]), source, *self.fetched(layer, name, tensor))

    def tensor(self, layer: Layer, name: str) -> TensorInfo:
        """One of a layer's weights. Raises ``UnfamiliarGraph`` where the layer has none of that name."""
        try:
            return layer.tensors[name]
        except KeyError:
            raise UnfamiliarGraph(f"Layer {layer.index} has no {name}.") from None

    def fetched(self, layer: Layer, name: str, tensor: TensorInfo) -> tuple[Node, ...]:
        """The copy of a weight that lies in host RAM: large batches are multiplied on the GPU all the same."""
        if self.plan.placement.of_tensor(layer.index, name) != HOST or self.plan.tokens < SMALLEST_OFFLOADED_BATCH:
            return ()
        return (self._weight_copy(tensor),)

    def pick(self, source: Node, rows: Node) -> Node:
        """Only the rows whose output is wanted."""
        return self.tape.op((source.shape[0], rows.shape[0]), source, rows)

    def add(self, first: Node, second: Node) -> Node:
        """The sum, in the place of one of both where ggml may."""
        return self.tape.op(first.shape, first, second, in_place=True)

    def _weight_copy(self, tensor: TensorInfo) -> Node:
        size = gpu_bytes(tensor.type, tensor.row_elements, tensor.size_bytes)
        return self.tape.copy(size, starts_split=True)

    def dense(self, source: Node, layer: Layer, suffix: str = "") -> Node:
        """A feed-forward network: up, perhaps gated, down."""
        inner = self.tensor(layer, f"ffn_down{suffix}.weight").row_elements
        up = self.project(source, layer, f"ffn_up{suffix}.weight")
        if f"ffn_gate{suffix}.weight" in layer.tensors:
            active = self._gated(self.project(source, layer, f"ffn_gate{suffix}.weight"), up)
        elif up.shape[0] == 2 * inner:
            active = self.tape.op((inner, *source.shape[1:]), up)
        else:
            active = self.norm(up)
        return self.project(active, layer, f"ffn_down{suffix}.weight")

    def _gated(self, gate: Node, up: Node) -> Node:
        """The activation of the gate times the up projection."""
        if self.plan.profile.one_step_gates:
            return self.tape.op(up.shape, gate, up)
        return self.tape.op(up.shape, self.norm(gate), up, in_place=True)

    def experts(self, layer: Layer, source: Node, logits: Node | None = None) -> Node:
        """The routed experts: every token through ``expert_used_count`` of them, then their weighted sum."""
        tape, used, tokens = self.tape, self.plan.shape.expert_used_count, source.shape[1]
        logits = logits or self.project(source, layer, "ffn_gate_inp.weight")
        probabilities = self.norm(logits)
        ranked = tape.op(logits.shape, probabilities)
        chosen = tape.view(ranked)
        chosen.shape = (used, tokens)
        weights = tape.op((1, used, tokens), tape.view(probabilities), chosen)
        tape.expand(weights)
        if _is_fused_choice(layer, logits.shape[0]):
            tape.expand(tape.store(logits, probabilities, ranked))
        active = self._active_experts(layer, tape.view(source), chosen)
        return self._weighted_sum(self._by_expert(layer, "ffn_down_exps.weight", active, chosen), weights)

    def _active_experts(self, layer: Layer, source: Node, chosen: Node) -> Node:
        tape = self.tape
        if "ffn_gate_up_exps.weight" in layer.tensors:
            both = self._by_expert(layer, "ffn_gate_up_exps.weight", source, chosen)
            return tape.op((both.shape[0] // 2, *both.shape[1:]), tape.view(both), tape.view(both))
        up = self._by_expert(layer, "ffn_up_exps.weight", source, chosen)
        if "ffn_gate_exps.weight" in layer.tensors:
            return self._gated(self._by_expert(layer, "ffn_gate_exps.weight", source, chosen), up)
        return self.norm(up)

    def _by_expert(self, layer: Layer, name: str, source: Node, chosen: Node) -> Node:
        """The product of every token with the matrices of its experts."""
        tensor, used = self.tensor(layer, name), self.plan.shape.expert_used_count
        shape = (tensor.rows, used, chosen.shape[1])
        product = self.tape.op(shape, source, *self.fetched(layer, name, tensor), chosen)
        bias_name = name.replace(".weight", ".bias")
        bias = layer.tensors.get(bias_name)
        if bias is None:
            return product
        return self.tape.op(shape, product, *self.fetched(layer, bias_name, bias), chosen, in_place=True)

    def _weighted_sum(self, results: Node, weights: Node) -> Node:
        """The sum over the experts. CUDA fuses it and therefore keeps its inputs until it is done."""
        tape = self.tape
        embedding, used, tokens = results.shape
        weighted = tape.op(results.shape, results, weights, in_place=True)
        parts = [tape.view(weighted) for _ in range(used)]
        for part in parts:
            tape.expand(part)
        total = parts[0]
        for part in parts[1:]:
            total = tape.op((embedding, tokens), total, part, in_place=True)
            tape.expand(total)
        if used == 1:
            return tape.op((embedding, tokens), total)
        if used <= _MOST_FUSED_EXPERTS:
            tape.expand(tape.store(results, weights))
        return total

    def feed_forward(self, layer: Layer, source: Node) -> Node:
        """The dense or the expert network, and the shared expert beside it."""
        if "ffn_gate_inp.weight" not in layer.tensors:
            return self.dense(source, layer)
        routed = self.experts(layer, source)
        if "ffn_up.weight" in layer.tensors:
            return self.add(self.norm(self.dense(source, layer)), self.norm(routed))
        if "ffn_up_shexp.weight" not in layer.tensors:
            return routed
        shared = self.dense(source, layer, "_shexp")
        if "ffn_gate_inp_shexp.weight" in layer.tensors:
            gate = self.project(source, layer, "ffn_gate_inp_shexp.weight")
            shared = self.tape.op(shared.shape, shared, gate, in_place=True)
        return self.add(routed, shared)

    def combine(self, layer: Layer, mixed: Node, residual: Node, normed: Node) -> Node:
        """The second half of a layer: the residual, and the feed-forward network with its own."""
        if self._is_parallel(layer):
            return self._parallel(layer, mixed, residual, normed)
        if "post_attention_norm.weight" in layer.tensors and _has_any(layer, "ffn_norm.weight", "post_ffw_norm.weight"):
            mixed = self.layer_norm(mixed, layer, "post_attention_norm.weight")
        first = (residual, mixed) if self.plan.name in _RESIDUAL_FIRST else (mixed, residual)
        hidden = self.add(*first)
        if "attn_output_norm.weight" in layer.tensors:
            hidden = self.norm(hidden)
        if not _has_ffn(layer):
            return hidden
        output = self.feed_forward(layer, self._feed_forward_norm(layer, hidden))
        if "post_ffw_norm.weight" in layer.tensors:
            output = self.layer_norm(output, layer, "post_ffw_norm.weight")
        hidden = self.add(hidden, output) if self.plan.name in _RESIDUAL_FIRST else self.add(output, hidden)
        return self.norm(hidden) if "layer_output_norm.weight" in layer.tensors else hidden

    def _feed_forward_norm(self, layer: Layer, hidden: Node) -> Node:
        """The norm before the feed-forward network, which some architectures call post-attention norm, and OLMo 2 lacks."""
        for name in ("ffn_norm.weight", "ffn_norm"):
            if name in layer.tensors:
                return self.layer_norm(hidden, layer, name)
        if "post_attention_norm.weight" in layer.tensors and "post_ffw_norm.weight" not in layer.tensors:
            return self.layer_norm(hidden, layer, "post_attention_norm.weight")
        return hidden

    def _parallel(self, layer: Layer, mixed: Node, residual: Node, normed: Node) -> Node:
        output = self.feed_forward(layer, self.norm(residual) if "ffn_norm.weight" in layer.tensors else normed)
        if self.plan.name in _RESIDUAL_AFTER_FFN:
            return self.add(self.add(output, residual), mixed)
        both = (output, mixed) if self.plan.name == "falcon" else (mixed, output)
        return self.add(self.add(*both), residual)

    def _is_parallel(self, layer: Layer) -> bool:
        """Whether attention and feed-forward network see the same input."""
        if self.plan.shape.parallel_residual:
            return True
        norms = ("ffn_norm.weight", "ffn_norm", "post_attention_norm.weight", "attn_output_norm.weight")
        return _has_ffn(layer) and _has_any(layer, "attn_output.weight", "attn_qkv.weight") and not _has_any(layer, *norms)

    def finish(self, hidden: Node, rows: Node) -> None:
        """The final norm and the output head."""
        if self.plan.is_encoder:
            self.tape.expand(hidden)
            return
        result = self.norm(hidden)
        if self.picks_after_norm:
            result = self.pick(result, rows)
        self.tape.expand(self.tape.op((self.plan.shape.vocabulary_size, result.shape[1]), result, *self._fetched_head()))

    def _fetched_head(self) -> tuple[Node, ...]:
        """The copy of an output matrix that lies in host RAM."""
        tensors = self.plan.shape.other_tensors
        head = tensors.get("output.weight") or tensors.get("token_embd.weight")
        few = self.plan.context.output_rows < SMALLEST_OFFLOADED_BATCH
        if head is None or self.plan.placement.output != HOST or few:
            return ()
        return (self._weight_copy(head),)

    @property
    def picks_after_norm(self) -> bool:
        """Whether every row passes the last layer before the wanted ones are picked."""
        return self.plan.name in _PICKED_AFTER_NORM


def _has_any(layer: Layer, *names: str) -> bool:
    return any(name in layer.tensors for name in names)


def _is_fused_choice(layer: Layer, count: int) -> bool:
    """Whether CUDA chooses the experts in one kernel, and so keeps every tensor of the choice until it is done."""
    small_power_of_two = count <= _MOST_CHOSEN_AMONG and count & (count - 1) == 0
    return small_power_of_two and "ffn_gate_inp.bias" not in layer.tensors


def _has_ffn(layer: Layer) -> bool:
    return _has_any(layer, "ffn_down.weight", "ffn_down_exps.weight")


def steady_layers(plan: Plan, layers: Sequence[Layer]) -> list[Layer]:
    """Enough of the layers to reach the peak: the first of every stretch that is placed alike, and the last."""
    chosen: list[Layer] = []
    for _, stretch in groupby(layers, key=lambda layer: _placed_alike(plan, layer)):
        chosen += list(stretch)[:_ENOUGH_LAYERS]
    return chosen if chosen[-1:] == list(layers[-1:]) else [*chosen, layers[-1]]


def _placed_alike(plan: Plan, layer: Layer) -> tuple[bool, bool]:
    return plan.placement.layers[layer.index] == HOST, layer.index < plan.placement.cpu_moe_layers


_ENOUGH_LAYERS = 12
