"""Per-layer embeddings in the compute graph (Gemma 3n and 4): a second, smaller embedding of every token for each layer.

Source: ``build_inp_per_layer`` and ``project_per_layer_inputs`` in ``src/models/gemma4.cpp``.
"""

from __future__ import annotations

from models_app.estimator.graph import Graph, UnfamiliarGraph
from models_app.estimator.placement import HOST
from models_app.estimator.shape import Layer
from models_app.estimator.tape import Node

PER_LAYER_WEIGHT = "per_layer_token_embd.weight"
_GATE = "inp_gate.weight"
_PROJECTION = "per_layer_model_proj.weight"


def adds_own_embedding(layer: Layer) -> bool:
    """Whether the layer has an embedding of its own to add."""
    return _GATE in layer.tensors


class PerLayerEmbeddings:
    """Adds the layers' own embeddings. Those of all layers are prepared when the first one needs its own."""

    def __init__(self, graph: Graph, hidden: Node) -> None:
        self._graph = graph
        width = graph.plan.shape.per_layer_embedding_length * len(graph.plan.shape.trunk)
        self._shape = (width, graph.plan.tokens)
        raw = graph.tape.op(self._shape, graph.input(graph.plan.tokens), device=HOST)
        self._raw = graph.tape.op(self._shape, graph.tape.view(raw), in_place=True)
        graph.tape.expand(self._raw)
        self._hidden = hidden
        self._prepared: Node | None = None

    def write(self, layer: Layer, hidden: Node) -> Node:
        """The layer's output with its own embedding added."""
        return self._graph.add(hidden, self.mixed(layer, hidden))

    def mixed(self, layer: Layer, hidden: Node) -> Node:
        """What the layer's own embedding makes of its output."""
        graph = self._graph
        gated = graph.norm(graph.project(hidden, layer, _GATE))
        own = graph.tape.part(self._all(), gated.shape, 4 * gated.shape[0] * gated.shape[1])
        mixed = graph.tape.op(gated.shape, gated, own, in_place=True)
        output = graph.project(mixed, layer, "proj.weight")
        return graph.layer_norm(output, layer, "post_norm.weight")

    def _all(self) -> Node:
        if self._prepared is None:
            graph, tape = self._graph, self._graph.tape
            tensor = graph.plan.shape.other_tensors.get(_PROJECTION)
            if tensor is None:
                raise UnfamiliarGraph(f"The model has {PER_LAYER_WEIGHT}, but no {_PROJECTION}.")
            device, weight = graph.placed(graph.plan.placement.layers[0], tensor, graph.plan.tokens)
            projected = graph.norm(tape.op(self._shape, *weight, self._hidden, device=device))
            normed = tape.op(self._shape, tape.view(projected), in_place=True)
            total = tape.op(self._shape, normed, self._raw, in_place=True)
            self._prepared = tape.op(self._shape, tape.view(total))
        return self._prepared
