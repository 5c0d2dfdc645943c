"""Refuses a problem that names nothing, contradicts itself or is out of range, with every reason at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from models_app.solver.types import PRIORITIES, Demand, Endpoint, Option, Problem, Rule, Scope


class InvalidProblem(ValueError):
    """The problem cannot be decided. ``reasons`` say why, each a sentence."""

    def __init__(self, reasons: tuple[str, ...]) -> None:
        self.reasons = reasons
        super().__init__(" ".join(reasons))


def validate(problem: Problem) -> None:
    """Raises ``InvalidProblem`` with all reasons."""
    reasons = (*_duplicates(problem), *_fleet(problem), *_demands(problem), *_rules(problem), *_loaded(problem))
    if reasons:
        raise InvalidProblem(reasons)


def _duplicates(problem: Problem) -> Iterator[str]:
    names = {
        "device": [device.id for device in problem.devices],
        "endpoint": [endpoint.id for endpoint in problem.endpoints],
        "demand": [demand.name for demand in problem.demands],
    }
    for kind, listed in names.items():
        yield from (f"The {kind} {name!r} is named {count} times." for name, count in Counter(listed).items() if count > 1)


def _fleet(problem: Problem) -> Iterator[str]:
    for device in problem.devices:
        if min(device.capacity_bytes, device.headroom_bytes, device.used_by_others_bytes) < 0:
            yield f"The device {device.id!r} has a negative size."
    for endpoint in problem.endpoints:
        yield from _endpoint(endpoint, problem)


def _endpoint(endpoint: Endpoint, problem: Problem) -> Iterator[str]:
    for name in endpoint.devices:
        device = problem.device.get(name)
        if device is None or not device.is_gpu or device.host != endpoint.host:
            yield f"The endpoint {endpoint.id!r} names {name!r}, which is no GPU of its host {endpoint.host!r}."


def _demands(problem: Problem) -> Iterator[str]:
    for demand in problem.demands:
        yield from (f"The demand {demand.name!r} {reason}" for reason in _demand(demand, problem))


def _demand(demand: Demand, problem: Problem) -> Iterator[str]:
    if not demand.options:
        yield "has no option: name a variant that exists."
    if demand.priority not in PRIORITIES:
        yield f"has the priority {demand.priority}; it must be {PRIORITIES[0]} to {PRIORITIES[-1]}."
    if demand.replicas < 1:
        yield f"asks for {demand.replicas} replicas; it must be at least 1."
    hosts = {device.host for device in problem.devices} | {endpoint.host for endpoint in problem.endpoints}
    for name in sorted((demand.allowed_hosts or frozenset()) - hosts):
        yield f"allows the host {name!r}, which does not exist."
    for name in sorted(
        ((demand.allowed_devices or frozenset()) | (demand.pinned_devices or frozenset())) - problem.device.keys()
    ):
        yield f"names the device {name!r}, which does not exist."
    yield from _pin(demand, problem)
    for option in demand.options:
        yield from _option(option)


def _pin(demand: Demand, problem: Problem) -> Iterator[str]:
    pinned = demand.pinned_devices or frozenset()
    if demand.pinned_devices is not None and demand.replicas > 1:
        yield "is pinned to one set of devices and yet asks for replicas, which never share a device."
    if demand.allowed_devices is not None and not pinned <= demand.allowed_devices:
        yield "is pinned to a device that it does not allow."
    hosts = {problem.device[name].host for name in pinned if name in problem.device}
    if len(hosts) > 1:
        yield "is pinned to devices of several hosts."
    if demand.allowed_hosts is not None and not hosts <= demand.allowed_hosts:
        yield "is pinned to a host that it does not allow."


def _option(option: Option) -> Iterator[str]:
    if any(size < 0 for size in (*option.device_bytes, *option.peak_bytes, option.host_ram_bytes)):
        yield f"has an option of {option.variant!r} with a negative size."
    if option.peak_bytes and len(option.peak_bytes) != len(option.device_bytes):
        yield f"has an option of {option.variant!r} whose peaks are of another number of devices."
    if not option.device_bytes and option.gpu_layers != 0:
        yield f"has an option of {option.variant!r} with layers on a GPU but no bytes there."
    if not 0 <= option.quality <= 10 or option.latency_ms < 0 or option.load_seconds < 0:
        yield f"has an option of {option.variant!r} whose quality, latency or load time is out of range."


def _rules(problem: Problem) -> Iterator[str]:
    for rule in problem.rules:
        for name in sorted(rule.demands - problem.demand.keys()):
            yield f"A rule names the demand {name!r}, which does not exist."
    apart = [rule for rule in problem.rules if rule.apart]
    together = [rule for rule in problem.rules if not rule.apart]
    for keep in together:
        for part in apart:
            both = keep.demands & part.demands
            if len(both) > 1 and _contradict(keep, part):
                yield f"The demands {', '.join(sorted(both))} are to be kept together and apart."


def _contradict(together: Rule, apart: Rule) -> bool:
    """One host holds several devices, so only "on one host" and "not on one device" agree."""
    return not (together.scope is Scope.HOST and apart.scope is Scope.DEVICE)


def _loaded(problem: Problem) -> Iterator[str]:
    for loaded in problem.current:
        if loaded.endpoint not in problem.endpoint or not set(loaded.devices) <= problem.device.keys():
            yield f"What is loaded for {loaded.demand!r} names an endpoint or a device that does not exist."
        elif len(loaded.devices) != len(loaded.option.device_bytes):
            yield f"What is loaded for {loaded.demand!r} has another number of devices than its option."
