"""A snapshot of the fleet: all that rules may know of it. Bytes are ints, times are UTC.

Its values are the rules' own, and fewer than what pages show: a thousand hosts are looked at every five seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from models_app.probes.types import GpuState, PoolKind, RamSample

SERVER_PROCESSES = frozenset({"ollama", "ollama_llama_server", "llama-server"})

ModelKey = tuple[int, str]
"""An endpoint's id and a model's name there."""


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """A GPU. Where it ``is_measured`` its figures are of now.

    ``idle_server_bytes`` are held by processes of model servers for none of their models, ``unexplained_bytes`` by nobody.
    """

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
    unexplained_bytes: int
    idle_server_bytes: int
    utilization_percent: int | None
    temperature_celsius: int | None


@dataclass(frozen=True, slots=True)
class EndpointFacts:
    """A server, and how it answered last; ``state`` and ``message`` are for people."""

    id: int
    name: str
    kind: str
    url: str
    version: str
    is_online: bool
    state: str
    code: str
    message: str
    hint: str
    capabilities: tuple[str, ...]
    load_options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model in memory. ``gpu_bytes`` is by GPU's UUID, ``cpu_bytes`` runs on the CPU instead.

    ``kv_bytes`` is its KV cache, where part of the model lies on the CPU. ``loaded_by`` is empty for another client.
    """

    id: int
    name: str
    endpoint_id: int
    state: str
    context_length: int | None
    gpu_bytes: Mapping[str, int]
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
    operation_id: int | None
    """The active operation that touches it."""

    @property
    def vram_bytes(self) -> int:
        """Bytes on all GPUs together."""
        return sum(self.gpu_bytes.values())

    @property
    def main_gpu(self) -> str:
        """The UUID of the GPU that holds most of it, empty where none is known."""
        return max(self.gpu_bytes, key=self.gpu_bytes.__getitem__, default="")


@dataclass(frozen=True, slots=True)
class HostFacts:
    """A machine; ``is_stale`` says that its newest sample is old."""

    id: int
    name: str
    gpus: tuple[GpuFacts, ...]
    endpoints: tuple[EndpointFacts, ...]
    models: tuple[ModelFacts, ...]
    sampled_at: datetime | None
    is_stale: bool

    def models_on(self, gpu: GpuFacts) -> list[ModelFacts]:
        """Those that lie on the GPU for the most part."""
        return [model for model in self.models if model.main_gpu == gpu.uuid]


@dataclass(frozen=True, slots=True)
class AbsentGpu:
    """A GPU that was there once and that the driver does not list any more, although its host is sampled."""

    uuid: str
    index: int
    name: str
    host_id: int
    host_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunningLoad:
    """A load that an operation is at work on. ``risen_bytes`` is what has shown so far of ``expected_bytes``."""

    operation_id: int
    endpoint_id: int
    model: str
    risen_bytes: int
    expected_bytes: int | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A load for which there was no room on an endpoint's host."""

    endpoint_id: int
    model: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Stop:
    """A model of the active plan that is no longer put right, after so many corrections."""

    plan_id: int
    endpoint_id: int
    model: str
    reason: str
    at: datetime
    correction_count: int


@dataclass(frozen=True, slots=True)
class Knock:
    """The bounded question to an endpoint's scheduler: ``answered_seconds`` is ``None`` where no answer came in time."""

    at: datetime
    answered_seconds: float | None


@dataclass(frozen=True, slots=True)
class Speeds:
    """Tokens a second that a model was measured to write on an endpoint: the last time, and the best."""

    latest: float
    best: float


@dataclass(frozen=True, slots=True)
class Facts:
    """The fleet at one moment.

    ``ram`` is each host's newest sample of its memory, by the host's id, where it is fresh. ``keyed`` are the endpoints
    that have a key. ``layer_counts`` and ``speeds`` are of models on the CPU. ``refusals`` are those of the last half hour.
    """

    at: datetime
    hosts: tuple[HostFacts, ...] = ()
    ram: Mapping[int, RamSample] = field(default_factory=dict)
    absent_gpus: tuple[AbsentGpu, ...] = ()
    keyed: frozenset[int] = frozenset()
    layer_counts: Mapping[ModelKey, int] = field(default_factory=dict)
    speeds: Mapping[ModelKey, Speeds] = field(default_factory=dict)
    loads: tuple[RunningLoad, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    stops: tuple[Stop, ...] = ()
    knocks: Mapping[int, Knock] = field(default_factory=dict)

    def gpus(self) -> Iterator[tuple[HostFacts, GpuFacts]]:
        """Every GPU with its host."""
        for host in self.hosts:
            for gpu in host.gpus:
                yield host, gpu

    def endpoints(self) -> Iterator[tuple[HostFacts, EndpointFacts]]:
        """Every endpoint with its host."""
        for host in self.hosts:
            for endpoint in host.endpoints:
                yield host, endpoint

    def models(self) -> Iterator[tuple[HostFacts, EndpointFacts, ModelFacts]]:
        """Every model in memory with its endpoint and host."""
        for host in self.hosts:
            endpoints = {endpoint.id: endpoint for endpoint in host.endpoints}
            for model in host.models:
                yield host, endpoints[model.endpoint_id], model
