"""The compute graph of one micro-batch, written down as llama.cpp builds it, to find the size of its buffer.

Source: ``llm_graph_context`` (``src/llama-graph.cpp``) and the graphs in ``src/models``. Which operations a layer has is
read from its tensors, so that an architecture of a familiar make needs no code of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod

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
    def transposes_values(self) -> bool:
        """Whether V is cached transposed. Where flash attention was only found to be impossible, it is not."""
        return not self.flash and self.settings.flash_attention is False

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


@cache
def _bias_of(name: str) -> str:
    """The name of a weight's bias. There are few names, and each is asked for in every layer."""
    return name.replace(".weight", ".bias")


class Graph:
    """A tape with the operations that all layers share."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tape = Tape()

    def input(self, *shape: int, width: int = 4) -> Node:
        """A tensor that is prepared in host RAM."""
        return self.tape.input(*shape, width=width)

    def norm(self, source: Node, shape: tuple[int, ...] | None = None) -> Node:
        """A normalisation without weights, or any other operation on one tensor that ggml may do in place."""
        return self.tape.op(shape or source.shape, source, in_place=True)

    def layer_norm(self, source: Node, layer: Layer, name: str) -> Node:
        """A normalisation with one of the layer's weights, and its bias, which tells it from an RMS norm."""
        bias = _bias_of(name)
        normed = self.tape.op(source.shape, source, in_place=bias not in layer.tensors)
        return self.with_small(self.with_small(normed, layer, name), layer, bias)

    def project(self, source: Node, layer: Layer, name: str) -> Node:
        """The product with one of the layer's matrices, and its bias."""
        tensor = self.tensor(layer, name)
        device, weight = self.weight(layer, name, tensor, source.shape[1])
        product = self.tape.op((tensor.rows, *source.shape[1:]), *weight, source, device=device)
        return self.with_small(product, layer, _bias_of(name))

    def product(self, shape: tuple[int, ...], layer: Layer, name: str, source: Node, *others: Node) -> Node:
        """A product with one of the layer's tensors whose result has another shape than a matrix's would."""
        tensor = layer.tensors.get(name)
        if tensor is None:
            return self.tape.op(shape, source, *others)
        device, weight = self.weight(layer, name, tensor, self.plan.tokens)
        return self.tape.op(shape, *weight, source, *others, device=device)

    def with_small(self, source: Node, layer: Layer, name: str) -> Node:
        """An operation in place with a vector of weights, where there is one: it counts only if that is fetched."""
        tensor = layer.tensors.get(name)
        if tensor is None:
            return source
        device = self.plan.placement.of_tensor(layer.index, name)
        if device != HOST:
            return source
        device, weight = self.placed(device, tensor, prod(source.shape[1:]))
        return self.tape.op(source.shape, source, *weight, in_place=True, device=device) if weight else source

    def scaled(self, source: Node, layer: Layer, name: str) -> Node:
        """The product with a vector of weights, in place where ggml may."""
        device, weight = self.weight(layer, name, self.tensor(layer, name), self.plan.tokens)
        return self.tape.op(source.shape, source, *weight, in_place=True, device=device)

    def tensor(self, layer: Layer, name: str) -> TensorInfo:
        """One of a layer's weights. Raises ``UnfamiliarGraph`` where the layer has none of that name."""
        try:
            return layer.tensors[name]
        except KeyError:
            raise UnfamiliarGraph(f"Layer {layer.index} has no {name}.") from None

    def weight(self, layer: Layer, name: str, tensor: TensorInfo, batch: int) -> tuple[int, tuple[Node, ...]]:
        """Where an operation on ``batch`` rows with this weight runs, and the weight where it lies elsewhere.

        The first GPU computes large batches with weights that lie in host RAM.
        """
        return self.placed(self.plan.placement.of_tensor(layer.index, name), tensor, batch)

    def placed(self, device: int, tensor: TensorInfo, batch: int) -> tuple[int, tuple[Node, ...]]:
        """The same for a weight on ``device``, of any layer or none."""
        if device != HOST or not self.plan.placement.gpu_count or batch < SMALLEST_OFFLOADED_BATCH:
            return device, ()
        size = gpu_bytes(tensor.type, tensor.row_elements, tensor.size_bytes)
        return 0, (self.tape.outside(size, HOST, is_weight=True),)

    def pick(self, source: Node, rows: Node) -> Node:
        """Only the rows whose output is wanted."""
        return self.tape.op((source.shape[0], rows.shape[0]), source, rows)

    def add(self, first: Node, second: Node) -> Node:
        """The sum, in the place of one of both where ggml may."""
        return self.tape.op(first.shape, first, second, in_place=True)
