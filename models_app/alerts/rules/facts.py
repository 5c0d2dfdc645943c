"""A snapshot of the fleet: all that rules may know of it. Bytes are ints, times are UTC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from models_app.alerts.rules.fleet import EndpointFacts, GpuFacts, HostFacts, ModelFacts
from models_app.probes.types import RamSample

SAME_SHARE = 0.02

ModelKey = tuple[int, str]
"""An endpoint's id and a model's name there."""


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
class Speed:
    """A run in which a model was measured to write, with its context then and the part of it that was on GPUs, 0 to 1."""

    at: datetime
    tokens_per_second: float
    context_length: int | None
    gpu_share: float

    def loaded_like(self, other: Speed) -> bool:
        """Whether the model was loaded in the same way, as far as that decides its pace."""
        return self.context_length == other.context_length and abs(self.gpu_share - other.gpu_share) < SAME_SHARE


@dataclass(frozen=True, slots=True)
class Facts:
    """The fleet at one moment.

    ``ram`` is each host's newest sample of its memory, by the host's id, where it is fresh. ``keyed`` are the endpoints
    that have a key. ``layer_counts`` are of models on the CPU. ``speeds`` are the measured runs of a model, the newest
    first. ``refusals`` are those of the last half hour.
    """

    at: datetime
    hosts: tuple[HostFacts, ...] = ()
    ram: Mapping[int, RamSample] = field(default_factory=dict)
    absent_gpus: tuple[AbsentGpu, ...] = ()
    keyed: frozenset[int] = frozenset()
    layer_counts: Mapping[ModelKey, int] = field(default_factory=dict)
    speeds: Mapping[ModelKey, Sequence[Speed]] = field(default_factory=dict)
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
