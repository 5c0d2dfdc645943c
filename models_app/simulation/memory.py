"""How much memory a simulated model takes, and on which devices it is put.

The terms follow llama.cpp: weights, KV cache, a compute buffer and a CUDA context on each GPU in use. What is stored is
what the file says; a compute buffer deviates from the formula by up to eight per cent, always the same for a model, as real
ones do.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from models_app.estimator.companions import PROJECTOR_COMPUTE_BYTES
from models_app.simulation.catalogue import SimulatedModel
from models_app.simulation.devices import SimulatedOutOfMemory
from models_app.simulation.hardware import SimulatedHost
from models_app.simulation.tensors import gpu_weights_bytes

CUDA_CONTEXT_BYTES = 180 * 1024**2
"""What a process takes on each GPU before it holds any tensor: 150 to 330 MiB in reality."""
KV_ELEMENT_BYTES = 2
WEIGHT_STEPS = 8


@dataclass(frozen=True, slots=True)
class Footprint:
    """The bytes of one loaded model by term, without CUDA contexts; ``layers`` counts the output layer."""

    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    layers: int

    @property
    def total_bytes(self) -> int:
        """All terms together."""
        return self.weights_bytes + self.kv_bytes + self.compute_bytes


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the parts of a model go: the share of each GPU by index, and what stays in RAM."""

    footprint: Footprint
    shares: dict[int, float]

    @property
    def vram_bytes(self) -> int:
        """The model's bytes on GPUs, without CUDA contexts."""
        return round(self.footprint.total_bytes * sum(self.shares.values()))

    @property
    def ram_bytes(self) -> int:
        """The model's bytes in RAM."""
        return self.footprint.total_bytes - self.vram_bytes

    def steps(self) -> list[dict[int, int]]:
        """The allocations of a load in order, in bytes by GPU: contexts, eight parts of the weights, KV, compute."""
        parts = [self.footprint.weights_bytes / WEIGHT_STEPS] * WEIGHT_STEPS
        parts += [self.footprint.kv_bytes, self.footprint.compute_bytes]
        contexts = dict.fromkeys(self.shares, CUDA_CONTEXT_BYTES)
        return [contexts] + [{gpu: round(part * share) for gpu, share in self.shares.items()} for part in parts]


def footprint(model: SimulatedModel, context: int, parallel: int = 1, batch: int = 512) -> Footprint:
    """What a model takes with ``context`` tokens for each of ``parallel`` sequences, all layers on GPUs."""
    deviation = random.Random(f"deviation of {model.blob or model.name}").uniform(0.92, 1.08)
    tokens = min(batch, context)
    return Footprint(
        weights_bytes=gpu_weights_bytes(model) + model.projector_bytes,
        kv_bytes=_kv_bytes(model, context, batch) * parallel,
        compute_bytes=round(_compute_bytes(model, context, tokens) * deviation),
        layers=model.layers + 1,
    )


def _kv_bytes(model: SimulatedModel, context: int, batch: int) -> int:
    """2 · layers · kv_heads · head_size · tokens · 2 bytes; layers with a sliding window keep only that and a batch."""
    if model.is_embedding:
        return 0
    token_bytes = 2 * model.kv_heads * model.head_size * KV_ELEMENT_BYTES
    full_layers = model.layers // model.sliding_pattern
    window = min(context, model.sliding_window + batch)
    return token_bytes * (full_layers * context + (model.layers - full_layers) * window)


def _compute_bytes(model: SimulatedModel, context: int, tokens: int) -> int:
    width = 3 * model.feed_forward_length + 2 * model.embedding_length + model.head_count * model.head_size
    projector_bytes = PROJECTOR_COMPUTE_BYTES if model.projector_bytes else 0
    return 4 * tokens * width + 2 * context * tokens + projector_bytes


def place(need: Footprint, host: SimulatedHost, *, gpus: list[int] | None = None, layers: int | None = None) -> Placement:
    """Where a model goes: one GPU if it fits (the one with most free memory), else several, else partly into RAM.

    ``gpus`` limits the choice. ``layers`` fixes how many go to GPUs, and then nothing spills: raises
    ``SimulatedOutOfMemory`` where they do not fit.
    """
    candidates = sorted(gpus if gpus is not None else range(len(host.gpus)), key=lambda gpu: -_room(host, gpu))
    wanted = 1.0 if layers is None or layers < 0 else min(1.0, layers / need.layers)
    wanted_bytes = need.total_bytes * wanted
    if not candidates or wanted == 0:
        return Placement(need, {})
    if wanted_bytes <= _room(host, candidates[0]):
        return Placement(need, {candidates[0]: wanted})
    rooms = {gpu: _room(host, gpu) for gpu in candidates if _room(host, gpu) > 0}
    total_room = sum(rooms.values())
    if wanted_bytes <= total_room:
        return Placement(need, {gpu: wanted * room / total_room for gpu, room in rooms.items()})
    if layers is not None and layers >= 0:
        raise SimulatedOutOfMemory(candidates[0], round(wanted_bytes), total_room)
    fitting_layers = int(total_room / need.total_bytes * need.layers)
    fraction = fitting_layers / need.layers
    return Placement(need, {gpu: fraction * room / total_room for gpu, room in rooms.items()} if fraction > 0 else {})


def _room(host: SimulatedHost, gpu: int) -> int:
    return max(0, host.free_bytes(gpu) - CUDA_CONTEXT_BYTES)
