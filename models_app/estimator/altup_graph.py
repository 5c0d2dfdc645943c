"""Gemma 3n's alternating updates in the compute graph: several hidden states side by side, of which a layer computes one.

Source: ``src/models/gemma3n.cpp``.
"""

from __future__ import annotations

from models_app.estimator.attention_graph import Attention
from models_app.estimator.graph import Graph, UnfamiliarGraph
from models_app.estimator.per_layer_graph import PerLayerEmbeddings
from models_app.estimator.shape import Layer
from models_app.estimator.tape import Node

ROUTER = "altup_router.weight"
_SPARSE_LAYERS = 10
_MOST_STATES = 64


def is_sparse(layer: Layer) -> bool:
    """Whether most of the layer's activations are cut off, if it is of this make."""
    return layer.index < _SPARSE_LAYERS and ROUTER in layer.tensors


class AlternatingUpdates:
    """Writes such layers, and what comes before the first and behind the last of them."""

    def __init__(self, graph: Graph, attention: Attention, own: PerLayerEmbeddings) -> None:
        self._graph, self._tape = graph, graph.tape
        self._attention, self._own = attention, own
        self._one = (graph.plan.shape.embedding_length, graph.plan.tokens)

    def start(self, hidden: Node, layer: Layer) -> Node:
        """All states from the embeddings."""
        count = self._graph.tensor(layer, ROUTER).rows
        if not 1 < count <= _MOST_STATES:
            raise UnfamiliarGraph(f"The model has {count} hidden states side by side.")
        self._rest, self._all = (*self._one, count - 1), (*self._one, count)
        repeated = self._tape.op(self._rest, hidden)
        magnitude = self._magnitude(hidden)
        return self._tape.op(self._all, hidden, self._normed(self._outside("altup_proj.weight", repeated), magnitude))

    def layer(self, layer: Layer, states: Node) -> Node:
        """One layer: predict all states, compute the active one, correct all."""
        graph, tape = self._graph, self._tape
        predictions = self._predict(layer, states)
        active = self._slice(predictions)
        normed = graph.layer_norm(active, layer, "attn_norm.weight")
        side = graph.project(graph.project(normed, layer, "laurel_l.weight"), layer, "laurel_r.weight")
        side = graph.add(graph.layer_norm(side, layer, "laurel_post_norm.weight"), normed)
        attended = graph.layer_norm(self._attention.write(layer, normed), layer, "post_attention_norm.weight")
        attended = graph.norm(graph.add(graph.add(attended, active), side))
        output = graph.layer_norm(self._feed_forward(layer, attended), layer, "post_ffw_norm.weight")
        corrected = self._correct(layer, predictions, graph.add(output, attended))
        first = graph.scaled(self._slice(corrected), layer, "altup_correct_scale.weight")
        added = self._own.mixed(layer, first)
        rest = tape.op(self._rest, tape.part(corrected, self._rest), added)
        return tape.op(self._all, self._slice(corrected), rest)

    def finish(self, states: Node, rows: Node) -> Node:
        """The mean of all states, of the wanted rows."""
        tape = self._tape
        magnitude = self._magnitude(self._slice(states))
        others = self._normed(self._outside("altup_unembd_proj.weight", tape.part(states, self._rest)), magnitude)
        total = self._slice(states)
        for _ in range(self._rest[2]):
            total = tape.op(self._one, total, self._slice(others), in_place=True)
        return self._graph.pick(self._graph.norm(total), rows)

    def _slice(self, states: Node) -> Node:
        return self._tape.part(states, self._one, 4 * self._one[0] * self._one[1])

    def _magnitude(self, source: Node) -> Node:
        return self._tape.op((1, *source.shape[1:]), self._graph.norm(source))

    def _normed(self, states: Node, magnitude: Node) -> Node:
        scaled = self._tape.op(states.shape, states, magnitude, in_place=True)
        return self._tape.op(states.shape, scaled, self._magnitude(states), in_place=True)

    def _outside(self, name: str, source: Node) -> Node:
        """The product with a matrix that belongs to the output's device."""
        plan = self._graph.plan
        tensor = plan.shape.other_tensors.get(name)
        device, weight = self._graph.placed(plan.placement.output, tensor, plan.tokens) if tensor else (None, ())
        return self._tape.op(source.shape, *weight, source, device=device)

    def _modalities(self, layer: Layer, source: Node) -> Node:
        normed = self._graph.norm(self._graph.layer_norm(source, layer, "altup_router_norm.weight"))
        return self._graph.norm(self._graph.project(normed, layer, ROUTER))

    def _predict(self, layer: Layer, states: Node) -> Node:
        tape, count = self._tape, self._all[2]
        mixed_shape = (count, *self._one)
        permuted = tape.op(mixed_shape, states)
        modalities = self._modalities(layer, self._slice(states))
        coefficients = self._graph.project(modalities, layer, "altup_predict_coef.weight")
        predictions = tape.op(self._all, tape.view(tape.op(mixed_shape, permuted, tape.view(coefficients))))
        return self._graph.add(predictions, states)

    def _correct(self, layer: Layer, predictions: Node, activated: Node) -> Node:
        tape = self._tape
        innovation = tape.op(self._one, activated, self._slice(predictions), in_place=True)
        repeated = tape.op(self._all, innovation)
        modalities = self._modalities(layer, activated)
        coefficients = tape.op((1, *self._all[1:]), self._graph.project(modalities, layer, "altup_correct_coef.weight"))
        return self._graph.add(tape.op(self._all, repeated, coefficients, in_place=True), predictions)

    def _feed_forward(self, layer: Layer, source: Node) -> Node:
        graph, tape = self._graph, self._tape
        normed = graph.layer_norm(source, layer, "ffn_norm.weight")
        up = graph.project(normed, layer, "ffn_up.weight")
        gate = graph.project(normed, layer, "ffn_gate.weight")
        if is_sparse(layer):
            mean = tape.op((1, gate.shape[1]), gate)
            spread = graph.norm(tape.op(gate.shape, gate, mean, in_place=True))
            cutoff = tape.op(mean.shape, mean, tape.op(mean.shape, spread))
            gate = graph.norm(tape.op(gate.shape, gate, cutoff, in_place=True))
        active = tape.op(up.shape, up, graph.norm(gate), in_place=True)
        return graph.project(active, layer, "ffn_down.weight")
