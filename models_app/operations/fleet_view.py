"""The values of the fleet's read model: what pages, sockets and the REST API show. All sizes are bytes, all times UTC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from models_app.backends.errors import ServerStopped
from models_app.probes.types import GpuState, PoolKind


class SegmentKind(StrEnum):
    """What a stretch of a GPU's memory is."""

    DRIVER = "driver"
    WEIGHTS = "weights"
    """A model's weights and buffers; all of it where its KV cache is not known."""
    KV = "kv"
    OTHER = "other"
    """Processes that are no model server."""
    UNEXPLAINED = "unexplained"
    PENDING = "pending"
    """Promised to a running operation and not risen yet."""
    SWAP = "swap"
    """Kept free in a plan for models that are loaded when they are asked for."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a GPU's memory; ``name`` is the model's or the process's, ``hue`` a model's (see ``ModelView``)."""

    kind: SegmentKind
    name: str
    hue: int
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model in memory, or one that was when its endpoint answered last.

    ``gpu_bytes`` maps a GPU's UUID to its share; ``cpu_bytes`` is what runs on the CPU instead.

    ``loaded_by`` is empty for a model that another client loaded. ``hue`` is a number by which a model has the same colour
    on every host and after every start.
    """

    id: int
    name: str
    hue: int
    endpoint_id: int
    endpoint_name: str
    state: str
    quantization: str
    is_embedding: bool
    context_length: int | None
    parallel: int | None
    gpu_bytes: dict[str, int]
    kv_bytes: int
    cpu_bytes: int
    size_bytes: int | None
    attributed_by: str
    expires_at: datetime | None
    kept_forever: bool
    pinned: bool
    loaded_by: str
    can_unload: bool
    can_set_keep_alive: bool
    can_measure_speed: bool
    operation_id: int | None
    """The active operation that touches it."""
    tokens_per_second: float | None = None
    """How fast it wrote here when that was measured last."""
    last_seen_at: datetime | None = None
    """When it was last seen in memory, where its endpoint does not answer and no process of its own holds anything."""

    @property
    def vram_bytes(self) -> int:
        """Bytes on all GPUs together."""
        return sum(self.gpu_bytes.values())

    @property
    def main_gpu(self) -> str:
        """The UUID of the GPU that holds most of it, empty where none is known."""
        return max(self.gpu_bytes, key=self.gpu_bytes.__getitem__, default="")

    @property
    def cpu_percent(self) -> int:
        """The share of the model that is not in VRAM, in percent, rounded up."""
        return -(-100 * self.cpu_bytes // self.size_bytes) if self.size_bytes else 0


@dataclass(frozen=True, slots=True)
class GpuView:
    """A GPU and what fills it. Driver-reserved, used and free add up to total.

    ``held_bytes`` is promised to running operations; ``available_bytes`` = free − held − headroom, never negative.
    ``is_measured`` is false where no fresh figures exist: ``state`` and ``reason`` say why.
    """

    id: int
    uuid: str
    index: int
    name: str
    pool: PoolKind
    state: GpuState
    reason: str
    is_measured: bool
    total_bytes: int
    driver_reserved_bytes: int
    used_bytes: int
    free_bytes: int
    held_bytes: int
    headroom_bytes: int
    available_bytes: int
    unexplained_bytes: int
    utilization_percent: int | None
    temperature_celsius: int | None
    power_milliwatts: int | None
    segments: tuple[Segment, ...]
    recent_bytes: tuple[int, ...]
    models: tuple[ModelView, ...]


@dataclass(frozen=True, slots=True)
class EndpointView:
    """A running server and how it answered last; ``message`` and ``hint`` say why not and what to do."""

    id: int
    name: str
    kind: str
    mode: str
    url: str
    version: str
    is_online: bool
    state: str
    code: str
    message: str
    hint: str
    warnings: tuple[str, ...]
    last_seen_at: datetime | None
    capabilities: tuple[str, ...]
    load_options: tuple[str, ...]
    installed_count: int

    @property
    def is_stopped(self) -> bool:
        """Whether nobody wants it to run."""
        return self.code == ServerStopped.code


@dataclass(frozen=True, slots=True)
class HostView:
    """A machine. ``elsewhere`` are its models of which no share of a GPU is known. ``problem`` says why it has no GPU."""

    id: int
    name: str
    is_local: bool
    tags: tuple[str, ...]
    gpus: tuple[GpuView, ...]
    endpoints: tuple[EndpointView, ...]
    elsewhere: tuple[ModelView, ...]
    ram_total_bytes: int | None
    ram_used_bytes: int | None
    ram_segments: tuple[Segment, ...]
    sampled_at: datetime | None
    is_stale: bool
    problem: str

    @property
    def models(self) -> Iterator[ModelView]:
        """Every model in memory here."""
        for gpu in self.gpus:
            yield from gpu.models
        yield from self.elsewhere

    @property
    def has_current_models(self) -> bool:
        """Whether anything is known to be in memory now."""
        return any(model.last_seen_at is None for model in self.models)

    @property
    def needs_attention(self) -> bool:
        """Whether a GPU does not answer, nor an endpoint that should, or the figures are old."""
        return (
            self.is_stale
            or any(gpu.state is not GpuState.OK for gpu in self.gpus)
            or any(not endpoint.is_online and not endpoint.is_stopped for endpoint in self.endpoints)
        )


@dataclass(frozen=True, slots=True)
class Sums:
    """The whole fleet in figures."""

    hosts: int
    gpus: int
    models: int
    used_bytes: int
    total_bytes: int
    available_bytes: int
    unexplained_bytes: int


@dataclass(frozen=True, slots=True)
class FleetView:
    """Every host, in the order of their names, and the sums."""

    hosts: tuple[HostView, ...]
    sums: Sums
