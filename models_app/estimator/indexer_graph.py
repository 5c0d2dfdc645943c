"""DeepSeek's sparse attention in the compute graph: an indexer scores the cache and leaves each token its best cells.

Source: ``src/models/glm-dsa.cpp`` and ``build_attn`` for ``llm_graph_input_attn_k_dsa`` of llama.cpp.
"""

from __future__ import annotations

from models_app.estimator.cache_inputs import CacheInputs
from models_app.estimator.graph import Graph
from models_app.estimator.placement import HOST
from models_app.estimator.shape import Layer
from models_app.estimator.tape import Node


class Indexer:
    """Writes the indexers of layers. A layer without one uses the choice of the layer before."""

    def __init__(self, graph: Graph, positions: Node) -> None:
        self._graph = graph
        self._positions = positions
        self._inputs: tuple[Node, Node, Node] | None = None
        self._best: Node | None = None
        self._zeros: dict[int, Node] = {}

    def write(self, layer: Layer, query: Node, normed: Node, cells: int) -> None:
        """Choose the cells from the compressed query; nothing happens in layers without an indexer."""
        if "indexer.attn_q_b.weight" not in layer.tensors:
            return
        graph, tape, tokens = self._graph, self._graph.tape, self._graph.plan.tokens
        size = graph.plan.shape.indexer_key_length
        mask, rotation, index = self._shared(cells)
        wide = tape.view(graph.project(query, layer, "indexer.attn_q_b.weight"))
        rotated = tape.op(wide.shape, rotation, tape.op(wide.shape, wide, self._positions))
        key = graph.norm(graph.project(normed, layer, "indexer.attn_k.weight"))
        key = tape.op((size, tokens), rotation, tape.op((size, tokens), tape.view(key), self._positions))
        device = graph.plan.placement.layers[layer.index] if graph.plan.settings.kv_offload else HOST
        tape.expand(tape.store(key, index, device=device))
        weights = graph.norm(graph.project(normed, layer, "indexer.proj.weight"))
        scores = tape.op((cells, tokens), tape.view(rotated), weights, mask)
        chosen = (min(graph.plan.shape.indexer_top_k, cells), tokens)
        self._best = tape.op(chosen, tape.op(chosen, scores))

    def masked(self, layer: Layer, cache: CacheInputs) -> Node:
        """The mask that leaves nothing but the chosen cells; the cache's own where nothing was chosen."""
        if self._best is None:
            return cache.mask
        tape, width = self._graph.tape, 2 if self._graph.plan.flash else 4
        closed = tape.op(cache.mask.shape, cache.mask, width=width)
        opened = tape.written(closed, self._zeros_on(layer, self._best.shape), self._best)
        return tape.op(cache.mask.shape, opened, cache.mask, width=width)

    def _zeros_on(self, layer: Layer, shape: tuple[int, ...]) -> Node:
        """Every layer has zeros of its own, which no operation makes: all lie in the buffer from the beginning."""
        layers = self._graph.plan.placement.layers
        device = max(layers[layer.index], 0) if self._graph.plan.placement.gpu_count else HOST
        if device not in self._zeros:
            count = sum(max(other, 0) == max(device, 0) for other in layers)
            self._zeros[device] = self._graph.tape.input(count, *shape, device=device)
            self._zeros[device].pinned = True
        return self._zeros[device]

    def _shared(self, cells: int) -> tuple[Node, Node, Node]:
        """The inputs of all indexers: their mask, the rotation of their keys, and where to write these."""
        if self._inputs is None:
            graph, tokens = self._graph, self._graph.plan.tokens
            size = graph.plan.shape.indexer_key_length
            self._inputs = graph.input(cells, tokens, width=2), graph.input(size, size), graph.input(tokens, width=8)
        return self._inputs
