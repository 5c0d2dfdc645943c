"""Per-layer embeddings in the compute graph (Gemma 3n and 4): a second, smaller embedding of every token for each layer.

Source: ``project_per_layer_inputs`` in ``src/models/gemma4.cpp``.
"""

from __future__ import annotations

from models_app.estimator.graph import Graph
from models_app.estimator.shape import Layer
from models_app.estimator.tape import Node

PER_LAYER_WEIGHT = "per_layer_token_embd.weight"


class PerLayerEmbeddings:
    """Adds the layers' own embeddings. The first device prepares those of all layers when the first one needs its own."""

    def __init__(self, graph: Graph, hidden: Node, is_first_device: bool) -> None:
        self._graph = graph
        width = graph.plan.shape.per_layer_embedding_length * len(graph.plan.shape.trunk)
        self._shape = (width, graph.plan.tokens)
        self._raw = graph.input(*self._shape)
        self._hidden = hidden
        self._prepared = None if is_first_device else self._raw

    def write(self, layer: Layer, hidden: Node) -> Node:
        """The layer's output with its own embedding mixed in."""
        graph = self._graph
        gated = graph.norm(graph.project(hidden, layer, "inp_gate.weight"))
        mixed = graph.tape.op(gated.shape, gated, graph.tape.view(self._all()), in_place=True)
        output = graph.norm(graph.project(mixed, layer, "proj.weight"))
        return graph.add(hidden, output)

    def _all(self) -> Node:
        if self._prepared is None:
            tape = self._graph.tape
            projected = self._graph.norm(tape.op(self._shape, self._hidden))
            normed = tape.op(self._shape, tape.view(projected))
            total = tape.op(self._shape, normed, self._raw, in_place=True)
            self._prepared = tape.op(self._shape, tape.view(total))
        return self._prepared
