"""Feed-forward networks in the compute graph: dense ones, routed experts, shared experts.

Source: ``build_ffn`` and ``build_moe_ffn`` in ``src/llama-graph.cpp``.
"""

from __future__ import annotations

from models_app.estimator.graph import Graph, UnfamiliarGraph
from models_app.estimator.shape import Layer
from models_app.estimator.tape import Node

_MOST_FUSED_EXPERTS = 15
_MOST_CHOSEN_AMONG = 512


class FeedForward:
    """Writes the feed-forward networks of layers onto a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tape = graph.tape
        self.plan = graph.plan

    def write(self, layer: Layer, source: Node) -> Node:
        """The dense or the expert network, and the shared expert beside it."""
        if "ffn_gate_inp.weight" not in layer.tensors:
            return self._dense(source, layer)
        routed = self._experts(layer, source)
        if "ffn_up.weight" in layer.tensors:
            return self.graph.add(self.graph.norm(self._dense(source, layer)), self.graph.norm(routed))
        if "ffn_up_shexp.weight" not in layer.tensors:
            return routed
        shared = self._dense(source, layer, "_shexp")
        if "ffn_gate_inp_shexp.weight" in layer.tensors:
            gate = self.graph.project(source, layer, "ffn_gate_inp_shexp.weight")
            shared = self.tape.op(shared.shape, shared, gate, in_place=True)
        return self.graph.add(routed, shared)

    def _dense(self, source: Node, layer: Layer, suffix: str = "") -> Node:
        """A feed-forward network: up, perhaps gated, down."""
        inner = self.graph.tensor(layer, f"ffn_down{suffix}.weight").row_elements
        up = self.graph.project(source, layer, f"ffn_up{suffix}.weight")
        if f"ffn_gate{suffix}.weight" in layer.tensors:
            active = self._gated(self.graph.project(source, layer, f"ffn_gate{suffix}.weight"), up)
        elif up.shape[0] == 2 * inner:
            active = self.tape.op((inner, *source.shape[1:]), up)
        else:
            active = self.graph.norm(up)
        return self.graph.project(active, layer, f"ffn_down{suffix}.weight")

    def _gated(self, gate: Node, up: Node) -> Node:
        """The activation of the gate times the up projection."""
        if self.plan.profile.one_step_gates:
            return self.tape.op(up.shape, gate, up)
        return self.tape.op(up.shape, self.graph.norm(gate), up, in_place=True)

    def _experts(self, layer: Layer, source: Node) -> Node:
        """The routed experts: every token through ``expert_used_count`` of them, then their weighted sum."""
        tape, used, tokens = self.tape, self.plan.shape.expert_used_count, source.shape[1]
        if not used:
            raise UnfamiliarGraph(f"Layer {layer.index} has experts, but no number of them is said to be used.")
        logits = self.graph.project(source, layer, "ffn_gate_inp.weight")
        probabilities = self.graph.norm(logits)
        ranked = tape.op(logits.shape, probabilities)
        chosen = tape.view(ranked)
        chosen.shape = (used, tokens)
        weights = tape.op((1, used, tokens), tape.view(probabilities), chosen)
        tape.expand(weights)
        if _is_fused_choice(layer, logits.shape[0]):
            tape.keep(logits, probabilities, ranked)
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
        return self.graph.norm(up)

    def _by_expert(self, layer: Layer, name: str, source: Node, chosen: Node) -> Node:
        """The product of every token with the matrices of its experts."""
        tensor, used = self.graph.tensor(layer, name), self.plan.shape.expert_used_count
        shape = (tensor.rows, used, chosen.shape[1])
        product = self.graph.product(shape, layer, name, source, chosen)
        bias_name = name.replace(".weight", ".bias")
        bias = layer.tensors.get(bias_name)
        if bias is None:
            return product
        device, weight = self.graph.weight(layer, bias_name, bias, used * chosen.shape[1])
        return self.tape.op(shape, product, *weight, chosen, in_place=True, device=device)

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
            tape.keep(results, weights)
        return total


def _is_fused_choice(layer: Layer, count: int) -> bool:
    """Whether CUDA chooses the experts in one kernel, and so keeps every tensor of the choice until it is done."""
    small_power_of_two = count <= _MOST_CHOSEN_AMONG and count & (count - 1) == 0
    return small_power_of_two and "ffn_gate_inp.bias" not in layer.tensors
