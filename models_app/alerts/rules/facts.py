"""A snapshot of the fleet: all that rules may know of it. Bytes are ints, times are UTC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from models_app.operations.fleet_view import EndpointView, FleetView, GpuView, HostView, ModelView
from models_app.probes.types import RamSample

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
class Speeds:
    """Tokens a second that a model was measured to write on an endpoint: the last time, and the best."""

    latest: float
    best: float


@dataclass(frozen=True, slots=True)
class Facts:
    """The fleet at one moment.

    ``ram`` is each host's newest sample of its memory, by the host's id, where it is fresh. ``keyed`` are the endpoints
    that have a key. ``layer_counts`` and ``speeds`` are of models in memory. ``refusals`` are those of the last half hour.
    """

    at: datetime
    fleet: FleetView
    ram: Mapping[int, RamSample] = field(default_factory=dict)
    absent_gpus: tuple[AbsentGpu, ...] = ()
    keyed: frozenset[int] = frozenset()
    layer_counts: Mapping[ModelKey, int] = field(default_factory=dict)
    speeds: Mapping[ModelKey, Speeds] = field(default_factory=dict)
    loads: tuple[RunningLoad, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    stops: tuple[Stop, ...] = ()
    knocks: Mapping[int, Knock] = field(default_factory=dict)

    def gpus(self) -> Iterator[tuple[HostView, GpuView]]:
        """Every GPU with its host."""
        for host in self.fleet.hosts:
            for gpu in host.gpus:
                yield host, gpu

    def endpoints(self) -> Iterator[tuple[HostView, EndpointView]]:
        """Every endpoint with its host."""
        for host in self.fleet.hosts:
            for endpoint in host.endpoints:
                yield host, endpoint

    def models(self) -> Iterator[tuple[HostView, EndpointView, ModelView]]:
        """Every model in memory with its endpoint and host."""
        for host in self.fleet.hosts:
            endpoints = {endpoint.id: endpoint for endpoint in host.endpoints}
            for model in host.models:
                yield host, endpoints[model.endpoint_id], model
