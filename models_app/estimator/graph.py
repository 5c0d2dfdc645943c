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
    def fetches(self) -> bool:
        """Whether a GPU computes the layers of the host too, with copies of what they need."""
        return self.placement.gpu_count > 0 and self.tokens >= SMALLEST_OFFLOADED_BATCH

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
        if self.plan.placement.of_tensor(layer.index, name) != HOST or not self.plan.fetches:
            return ()
        return (self.weight_copy(tensor),)

    def pick(self, source: Node, rows: Node) -> Node:
        """Only the rows whose output is wanted."""
        return self.tape.op((source.shape[0], rows.shape[0]), source, rows)

    def add(self, first: Node, second: Node) -> Node:
        """The sum, in the place of one of both where ggml may."""
        return self.tape.op(first.shape, first, second, in_place=True)

    def weight_copy(self, tensor: TensorInfo) -> Node:
        """The copy of a weight; a new part of the graph begins with it."""
        size = gpu_bytes(tensor.type, tensor.row_elements, tensor.size_bytes)
        return self.tape.copy(size, starts_split=True)


def steady_layers(plan: Plan, layers: Sequence[Layer]) -> list[Layer]:
    """Enough of the layers to reach the peak: the first of every stretch that is placed alike, and the last."""
    chosen: list[Layer] = []
    for _, stretch in groupby(layers, key=lambda layer: _placed_alike(plan, layer)):
        chosen += list(stretch)[:_ENOUGH_LAYERS]
    return chosen if chosen[-1:] == list(layers[-1:]) else [*chosen, layers[-1]]


def _placed_alike(plan: Plan, layer: Layer) -> tuple[bool, bool]:
    return plan.placement.layers[layer.index] == HOST, layer.index < plan.placement.cpu_moe_layers


_ENOUGH_LAYERS = 12
