"""Which layer goes to which device. Source: ``llama_model_base::load_tensors`` of llama.cpp."""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from models_app.estimator.profiles import BuildProfile
from models_app.estimator.shape import Shape
from models_app.estimator.types import InvalidSettings, LoadSettings

HOST = -1
"""The device number of host RAM; GPUs are 0, 1, …"""

_EXPERTS = re.compile(r"ffn_(up|down|gate|gate_up)_(ch|)exps")


@dataclass(frozen=True, slots=True)
class Placement:
    """The device of every layer and of the output layer; ``HOST`` or the number of a GPU."""

    gpu_count: int
    layers: tuple[int, ...]
    output: int
    cpu_moe_layers: int

    @property
    def is_full(self) -> bool:
        """Whether nothing but the input stays on the host."""
        return self.output != HOST and HOST not in self.layers and self.cpu_moe_layers == 0

    def of_tensor(self, layer: int, name: str) -> int:
        """The device of one of a layer's tensors (its name without ``blk.N.``)."""
        if layer < self.cpu_moe_layers and _EXPERTS.match(name):
            return HOST
        return self.layers[layer]


def place(shape: Shape, settings: LoadSettings, profile: BuildProfile, gpu_bytes: Sequence[int] | None = None) -> Placement:
    """Distribute the layers. ``gpu_bytes`` is the free memory of each GPU, which gives the default shares.

    ``None`` is one GPU (or as many as ``split`` names) without a limit, an empty sequence is no GPU at all. Raises
    ``InvalidSettings`` where ``split`` names more GPUs than there are.
    """
    gpu_count = max(len(settings.split), 1) if gpu_bytes is None else len(gpu_bytes)
    if len(settings.split) > gpu_count:
        raise InvalidSettings(f"split names {len(settings.split)} GPUs; there are {gpu_count}.")
    count = shape.layer_count
    wanted = count + 1 if settings.gpu_layers is None else settings.gpu_layers
    offloaded = min(wanted, count + 1) if gpu_count else 0
    first = max(count + (1 if profile.output_layer_first else 0) - wanted, 0)
    bounds = _bounds(settings.split or gpu_bytes or (1,) * gpu_count, gpu_count) if gpu_count else []
    devices = [_device(index, first, offloaded, bounds) for index in range(count + 1)]
    return Placement(gpu_count, tuple(devices[:count]), devices[count], settings.cpu_moe_layers)


def _bounds(shares: Sequence[float], gpu_count: int) -> list[float]:
    sums = list(accumulate(_single(share) for share in [*shares, *([0.0] * (gpu_count - len(shares)))]))
    if not sums[-1]:
        return _bounds((1,) * gpu_count, gpu_count)
    return [_single(_single(total) / _single(sums[-1])) for total in sums]


def _device(index: int, first: int, offloaded: int, bounds: list[float]) -> int:
    position = index - first
    if position < 0 or position >= offloaded:
        return HOST
    if len(bounds) == 1:
        return 0
    return min(bisect_right(bounds, _single(position / offloaded)), len(bounds) - 1)


def _single(value: float) -> float:
    """Round to single precision, in which llama.cpp compares the shares."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded
