"""Which options a demand has on which endpoint, on which devices, and whether in a swap space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from models_app.solver.types import Demand, DeviceSets, Endpoint, Option, Problem


@dataclass(frozen=True, slots=True)
class Choice:
    """An option of a demand on an endpoint: any ``size`` of ``devices``, each with room for a share."""

    demand: Demand
    option: Option
    endpoint: Endpoint
    devices: tuple[str, ...]
    ram: str | None
    swapped: bool

    @property
    def size(self) -> int:
        """The number of devices that an instance takes."""
        return len(self.option.device_bytes)

    @property
    def even(self) -> bool:
        """Whether all devices of the set give the same, so that their order does not matter."""
        return len(set(self.option.device_bytes)) <= 1


def choices_of(problem: Problem, demand: Demand) -> tuple[Choice, ...]:
    """All choices of a demand, in order of preference. A resident one comes before the same in a swap space."""
    known: dict[str, tuple[Demand, tuple[Choice, ...]]] = problem.worked_out
    if demand.name not in known or known[demand.name][0] is not demand:
        known[demand.name] = demand, tuple(_choices(problem, demand))
    return known[demand.name][1]


def _choices(problem: Problem, demand: Demand) -> Iterator[Choice]:
    return (
        choice
        for option in demand.options
        for endpoint in problem.endpoints
        for choice in _on_endpoint(problem, demand, option, endpoint)
    )


def _on_endpoint(problem: Problem, demand: Demand, option: Option, endpoint: Endpoint) -> Iterator[Choice]:
    if option.endpoints is not None and endpoint.id not in option.endpoints:
        return
    if demand.allowed_hosts is not None and endpoint.host not in demand.allowed_hosts:
        return
    devices = _eligible(problem, demand, option, endpoint)
    ram = problem.ram.get(endpoint.host) if option.host_ram_bytes else None
    if devices is None or (option.host_ram_bytes and ram is None):
        return
    if ram is not None and problem.device[ram].usable_bytes < option.host_ram_bytes:
        return
    yield Choice(demand, option, endpoint, devices, ram, swapped=False)
    if not demand.always_on and waits(demand, option):
        yield Choice(demand, option, endpoint, devices, ram, swapped=True)


def waits(demand: Demand, option: Option) -> bool:
    """Whether the demand tolerates that this option is loaded only when asked for."""
    return demand.tolerated_wait_seconds is None or option.load_seconds <= demand.tolerated_wait_seconds


def _eligible(problem: Problem, demand: Demand, option: Option, endpoint: Endpoint) -> tuple[str, ...] | None:
    """The GPUs on which a share may lie, ``None`` where the endpoint cannot form such a set of them."""
    size = len(option.device_bytes)
    if size == 0:
        return () if demand.pinned_devices is None or not demand.pinned_devices else None
    smallest = min(option.device_bytes)
    devices = tuple(
        name
        for name in endpoint.devices
        if problem.device[name].usable_bytes >= smallest
        and (demand.allowed_devices is None or name in demand.allowed_devices)
        and (demand.pinned_devices is None or name in demand.pinned_devices)
    )
    if len(devices) < size or (demand.pinned_devices is not None and size != len(demand.pinned_devices)):
        return None
    whole = size == len(endpoint.devices)
    possible = {DeviceSets.ANY: True, DeviceSets.ONE_OR_WHOLE: size == 1 or whole, DeviceSets.WHOLE: whole}
    return devices if possible[endpoint.sets] else None
