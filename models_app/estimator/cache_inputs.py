"""What attention reads besides its own projections: the caches with their masks, indices and rotations.

Source: ``llama-kv-cache.cpp`` and ``src/llama-graph.cpp`` of llama.cpp, ``ggml-cuda/fattn.cu``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from models_app.estimator.cache import value_width
from models_app.estimator.graph import Graph, Plan
from models_app.estimator.placement import HOST
from models_app.estimator.shape import Layer
from models_app.estimator.tape import Node
from models_app.estimator.types import cache_type

_PIPELINE_COPIES = 4


@dataclass(frozen=True, slots=True)
class CacheInputs:
    """The inputs of one KV cache: its mask, where to write, and the rotations of a quantised cache."""

    cells: int
    mask: Node
    key_index: Node | None = None
    value_index: Node | None = None
    key_rotation: Node | None = None
    value_rotation: Node | None = None


class Caches:
    """The inputs of a graph's caches, one set for the whole context and one for the windows."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tape = graph.tape
        self.plan = graph.plan
        self._made: dict[bool, CacheInputs] = {}

    def of(self, layer: Layer) -> CacheInputs:
        """The inputs of the cache that the layer uses, made when it is first used."""
        if layer.is_windowed not in self._made:
            inputs = self._batch_inputs() if self.plan.is_encoder else self._cache_inputs(layer)
            self._made[layer.is_windowed] = inputs
        return self._made[layer.is_windowed]

    def device(self, layer: Layer) -> int:
        """Where the cache lies that the layer uses: its own, or that of the last layer before it of the same kind."""
        if not self.plan.settings.kv_offload:
            return HOST
        if layer.keeps_kv:
            return self.plan.placement.layers[layer.index]
        keepers = (other for other in reversed(self.plan.shape.layers[: layer.index + 1]) if other.keeps_kv)
        keeper = next((other for other in keepers if other.is_windowed == layer.is_windowed), layer)
        return self.plan.placement.layers[keeper.index]

    def stored(self, layer: Layer, cells: int) -> tuple[Node, ...]:
        """K and V as the attention reads them. MLA reads its V out of K."""
        plan = self.plan
        rows = cells * plan.context.streams
        key = cache_type(plan.settings.cache_type_k).row_bytes(layer.kv_key_width) * rows
        width = value_width(plan.shape, layer, plan.profile, plan.transposes_values)
        value = cache_type(plan.settings.cache_type_v).row_bytes(width) * rows if width else key
        return tuple(self.tape.outside(size, self.device(layer)) for size in (key, value))

    def scratch_bytes(self, layer: Layer, cells: int) -> int:
        """The f16 copies of K and V that CUDA's flash attention makes of a cache of another type."""
        plan = self.plan
        if not plan.profile.scratch_in_compute_buffer or plan.is_encoder or not plan.placement.gpu_count:
            return 0
        widths = [layer.kv_key_width] if plan.settings.cache_type_k != "f16" else []
        if plan.settings.cache_type_v != "f16":
            widths.append(value_width(plan.shape, layer, plan.profile, plan.transposes_values))
        return sum(-(-2 * width * cells * plan.context.streams // 128) * 128 for width in widths)

    def _batch_inputs(self) -> CacheInputs:
        tokens = self.plan.tokens
        return CacheInputs(tokens, self.graph.input(tokens, tokens, width=2 if self.plan.flash else 4))

    def _cache_inputs(self, layer: Layer) -> CacheInputs:
        plan, graph = self.plan, self.graph
        cells = plan.context.window_cells if layer.is_windowed else plan.context.cells
        value_rows = plan.shape.largest_kv_value_width if plan.transposes_values else 1
        value_rows *= plan.profile.indexed_writes
        key_rotation, value_rotation = (graph.input(side, side) if side else None for side in rotation_sizes(plan, layer))
        return CacheInputs(
            cells,
            key_rotation=key_rotation,
            value_rotation=value_rotation,
            key_index=graph.input(plan.tokens, width=8),
            value_index=graph.input(plan.tokens * value_rows, width=8),
            mask=self._mask(cells),
        )

    def _mask(self, cells: int) -> Node:
        """The mask, as the attention reads it."""
        plan = self.plan
        arrives_as_f16 = plan.flash and plan.profile.mask_is_f16
        mask = self.graph.input(cells, plan.tokens, width=2 if arrives_as_f16 else 4)
        if plan.flash and not arrives_as_f16:
            return self.tape.op((cells, plan.tokens), mask, width=2)
        return mask


def rotation_sizes(plan: Plan, layer: Layer) -> tuple[int, int]:
    """The sides of the square matrices that rotate K and V before a cache quantises them; 0 where nothing is rotated."""
    settings = plan.settings
    key = cache_type(settings.cache_type_k).is_quantized and layer.key_length % 64 == 0 and not plan.shape.is_mla
    value = cache_type(settings.cache_type_v).is_quantized and layer.value_length % 64 == 0 and not plan.shape.is_mla
    return gcd(layer.key_length, 1 << 16) if key else 0, 64 if value else 0


def input_copies(plan: Plan) -> int:
    """Pipelines over several GPUs keep copies of every input."""
    pipelined = plan.placement.gpu_count > 1 and plan.placement.is_full and plan.settings.kv_offload
    return _PIPELINE_COPIES if pipelined else 1
