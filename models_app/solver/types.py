"""What a placement is decided from: devices, endpoints, demands with their options, and what is loaded now.

Bytes are whole bytes of the upper estimate. A GPU is known by its UUID, host RAM by any name of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

PRIORITIES = (1, 2, 3, 4, 5)
"""1 is placed first."""


class DeviceKind(StrEnum):
    """The kind of memory pool."""

    VRAM = "vram"
    UNIFIED = "unified"
    """One memory for CPU and GPU: a load's host RAM comes from it too."""
    HOST_RAM = "host_ram"


@dataclass(frozen=True, slots=True)
class Device:
    """A memory pool of a host. ``headroom_bytes`` stay free; ``used_by_others_bytes`` belong to other programs."""

    id: str
    host: str
    kind: DeviceKind
    capacity_bytes: int
    headroom_bytes: int = 0
    used_by_others_bytes: int = 0

    @property
    def usable_bytes(self) -> int:
        """What all models together may take."""
        return max(0, self.capacity_bytes - self.headroom_bytes - self.used_by_others_bytes)

    @property
    def is_gpu(self) -> bool:
        """Whether layers can be put here."""
        return self.kind is not DeviceKind.HOST_RAM


class DeviceSets(StrEnum):
    """The sets of its GPUs on which an endpoint can be told to put a model."""

    WHOLE = "whole"
    """All that it sees: an instance with its own ``CUDA_VISIBLE_DEVICES``."""
    ONE_OR_WHOLE = "one_or_whole"
    """One by name, or all: Ollama's ``main_gpu``."""
    ANY = "any"
    """Any set: a router's preset, or a llama-server that is started for the model."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running Ollama or llama-server, or a host that can start one. ``devices`` are the GPUs that it sees.

    Without ``copies`` it holds a variant at most once. ``max_models`` counts a swap space as one model.
    """

    id: str
    host: str
    devices: tuple[str, ...] = ()
    sets: DeviceSets = DeviceSets.ANY
    copies: bool = True
    max_models: int | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """One way to load a demand: a variant at a context, with slots, layers and the shape of its device set.

    ``device_bytes`` are the bytes on each GPU of the set, in the order of the split; empty for the CPU alone.
    ``peak_bytes`` are the same while loading, where that is more. ``gpu_layers`` ``None`` is all of them. ``quality``
    is 0 to 10, 10 the variant wanted at the context wanted. ``latency_ms`` is what a typical request takes once the
    model is loaded. ``endpoints`` are those that can load it, ``None`` for any.
    """

    variant: str
    device_bytes: tuple[int, ...]
    host_ram_bytes: int = 0
    context_length: int = 4096
    slots: int = 1
    gpu_layers: int | None = None
    quality: int = 10
    latency_ms: int = 0
    load_seconds: float = 5.0
    peak_bytes: tuple[int, ...] = ()
    endpoints: frozenset[str] | None = None

    @property
    def spills(self) -> bool:
        """Whether layers are left to the CPU, which makes it 3 to 10 times slower."""
        return self.gpu_layers is not None

    @property
    def total_bytes(self) -> int:
        """All devices together, host RAM included."""
        return sum(self.device_bytes) + self.host_ram_bytes

    @property
    def loading_bytes(self) -> tuple[int, ...]:
        """The peak on each GPU of the set while it loads."""
        peaks = self.peak_bytes or self.device_bytes
        return tuple(max(peak, steady) for peak, steady in zip(peaks, self.device_bytes, strict=True))


@dataclass(frozen=True, slots=True)
class Demand:
    """What should be served. ``options`` are in order of preference; ``replicas`` never share a device.

    ``always_on`` demands are resident; the others may share a swap space if loading them takes no longer than
    ``tolerated_wait_seconds``. The exact set ``pinned_devices`` comes before every priority.
    """

    name: str
    options: tuple[Option, ...]
    priority: int = 3
    replicas: int = 1
    always_on: bool = True
    tolerated_wait_seconds: float | None = None
    allowed_hosts: frozenset[str] | None = None
    allowed_devices: frozenset[str] | None = None
    pinned_devices: frozenset[str] | None = None
    tags: frozenset[str] = frozenset()

    @property
    def weight(self) -> int:
        """16, 8, 4, 2, 1 for priorities 1 to 5: a step up counts as much as two a step below."""
        return 1 << (PRIORITIES[-1] - self.priority)


class Scope(StrEnum):
    """What members of a rule share, or do not."""

    HOST = "host"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Rule:
    """Keeps demands apart, or together: all their instances on one host, or on one and the same device."""

    demands: frozenset[str]
    scope: Scope = Scope.HOST
    apart: bool = True


@dataclass(frozen=True, slots=True)
class Assignment:
    """One instance, its ``devices`` in the order of the option's shares. A ``swapped`` one is loaded when asked for."""

    demand: str
    option: Option
    endpoint: str
    devices: tuple[str, ...]
    swapped: bool = False


@dataclass(frozen=True)
class Problem:
    """Everything that a placement is decided from. ``current`` is what Berth may move or unload."""

    devices: tuple[Device, ...]
    endpoints: tuple[Endpoint, ...]
    demands: tuple[Demand, ...]
    rules: tuple[Rule, ...] = ()
    current: tuple[Assignment, ...] = ()

    @cached_property
    def device(self) -> dict[str, Device]:
        """Devices by id."""
        return {device.id: device for device in self.devices}

    @cached_property
    def endpoint(self) -> dict[str, Endpoint]:
        """Endpoints by id."""
        return {endpoint.id: endpoint for endpoint in self.endpoints}

    @cached_property
    def demand(self) -> dict[str, Demand]:
        """Demands by name."""
        return {demand.name: demand for demand in self.demands}

    @cached_property
    def ram(self) -> dict[str, str]:
        """By host, the device that its host RAM comes from."""
        pools = {device.host: device.id for device in self.devices if device.kind is DeviceKind.UNIFIED}
        return pools | {device.host: device.id for device in self.devices if device.kind is DeviceKind.HOST_RAM}

    @cached_property
    def worked_out(self) -> dict[str, Any]:
        """What others have derived from the problem and need again."""
        return {}

    def taken(self, assignment: Assignment) -> dict[str, int]:
        """The bytes that an instance takes on each device, host RAM included."""
        bytes_by_device = dict(zip(assignment.devices, assignment.option.device_bytes, strict=True))
        if assignment.option.host_ram_bytes:
            pool = self.ram[self.endpoint[assignment.endpoint].host]
            bytes_by_device[pool] = bytes_by_device.get(pool, 0) + assignment.option.host_ram_bytes
        return bytes_by_device
