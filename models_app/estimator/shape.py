"""A model's dimensions, layer by layer. Lengths are elements."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from models_app.estimator.architectures import Architecture
from models_app.gguf.header import TensorInfo


@dataclass(frozen=True, slots=True)
class Layer:
    """One repeating layer. ``tensors`` are its weights by name without the ``blk.N.`` prefix."""

    index: int
    head_count: int
    kv_head_count: int
    feed_forward_length: int
    key_length: int
    value_length: int
    is_windowed: bool
    keeps_kv: bool
    keeps_state: bool
    is_mtp: bool
    tensors: Mapping[str, TensorInfo]
    make: int = 0
    """The same number for layers of the same dimensions and tensors."""
    stored_make: int = 0
    """The same number for layers whose tensors are also stored in the same types."""

    @property
    def kv_key_width(self) -> int:
        """Elements of K that one token takes in the cache."""
        return self.key_length * self.kv_head_count

    @property
    def kv_value_width(self) -> int:
        """Elements of V that one token takes in the cache, before MLA drops it."""
        return self.value_length * self.kv_head_count

    def width(self, name: str) -> int:
        """Rows of the matrix ``name`` (its output length), 0 where the layer has none."""
        tensor = self.tensors.get(name)
        return tensor.rows if tensor is not None else 0


def with_makes(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """The same layers with their ``make`` and ``stored_make``."""
    makes: dict[Hashable, int] = {}
    numbered = []
    for layer in layers:
        tensors = sorted(layer.tensors.items())
        make = (
            *(layer.head_count, layer.kv_head_count, layer.feed_forward_length, layer.key_length, layer.value_length),
            *(layer.is_windowed, layer.keeps_kv, layer.keeps_state),
            *((name, tensor.shape) for name, tensor in tensors),
        )
        stored_make = make, *(tensor.type.name for _, tensor in tensors)
        numbered.append(
            replace(
                layer,
                make=makes.setdefault(make, len(makes)),
                stored_make=makes.setdefault(stored_make, len(makes)),
            )
        )
    return tuple(numbered)


@dataclass(frozen=True, slots=True)
class RecurrentShape:
    """The elements of one layer's recurrent state for one sequence: convolution and state."""

    convolution: int = 0
    state: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """A whole model. ``layers`` includes the MTP layers at the end; ``other_tensors`` are those outside the layers."""

    architecture_name: str
    architecture: Architecture
    embedding_length: int
    vocabulary_size: int
    training_context_length: int
    window_size: int
    is_mla: bool
    is_causal: bool
    parallel_residual: bool
    pooling_type: int
    expert_count: int
    expert_used_count: int
    per_layer_embedding_length: int
    rope_length: int
    kv_lora_rank: int
    latent_key_length: int
    latent_value_length: int
    recurrent: RecurrentShape
    ssm_inner_size: int
    ssm_state_size: int
    ssm_group_count: int
    ssm_time_step_rank: int
    ssm_conv_kernel: int
    indexer_key_length: int
    indexer_top_k: int
    indexer_layers: tuple[bool, ...]
    layers: tuple[Layer, ...]
    other_tensors: Mapping[str, TensorInfo] = field(default_factory=dict)

    @property
    def layer_count(self) -> int:
        """Repeating layers, the MTP layers included."""
        return len(self.layers)

    @property
    def trunk(self) -> tuple[Layer, ...]:
        """The layers without the MTP layers."""
        return tuple(layer for layer in self.layers if not layer.is_mtp)

    @property
    def largest_kv_value_width(self) -> int:
        """The widest V of all layers, to which a transposed cache is padded."""
        return max((layer.kv_value_width for layer in self.layers), default=0)
