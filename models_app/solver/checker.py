"""Checks a placement against the problem, sharing no code with what made it.

It works from the raw demands and devices, byte by byte, and answers with every violation in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from models_app.solver.result import Placement
from models_app.solver.types import Assignment, Problem


def violations(problem: Problem, placement: Placement) -> tuple[str, ...]:
    """Everything that is wrong with a placement, empty when it holds."""
    placed = placement.assignments
    return (
        *_each(problem, placed),
        *_bytes(problem, placement),
        *_replicas(problem, placed),
        *_endpoints(problem, placed),
        *_rules(problem, placed),
        *_figures(problem, placement),
    )


def _each(problem: Problem, placed: Sequence[Assignment]) -> Iterator[str]:
    demands = {demand.name: demand for demand in problem.demands}
    endpoints = {endpoint.id: endpoint for endpoint in problem.endpoints}
    for it in placed:
        demand, endpoint = demands[it.demand], endpoints[it.endpoint]
        seen, size = set(endpoint.devices), len(it.devices)
        if it.option not in demand.options:
            yield f"{it.demand}: an option that was not offered."
        if it.option.endpoints is not None and it.endpoint not in it.option.endpoints:
            yield f"{it.demand}: {it.endpoint} does not have {it.option.variant}."
        if size != len(it.option.device_bytes) or len(set(it.devices)) != size:
            yield f"{it.demand}: its devices do not match its shares."
        if not set(it.devices) <= seen:
            yield f"{it.demand}: devices that {it.endpoint} does not see."
        if demand.allowed_hosts is not None and endpoint.host not in demand.allowed_hosts:
            yield f"{it.demand}: a host that is not allowed."
        if demand.allowed_devices is not None and not set(it.devices) <= demand.allowed_devices:
            yield f"{it.demand}: a device that is not allowed."
        if demand.pinned_devices is not None and set(it.devices) != demand.pinned_devices:
            yield f"{it.demand}: not where it is pinned."
        if size and endpoint.sets.value == "whole" and size != len(seen):
            yield f"{it.demand}: {it.endpoint} can only use all of its devices."
        if size and endpoint.sets.value == "one_or_whole" and size not in (1, len(seen)):
            yield f"{it.demand}: {it.endpoint} can use one device or all."
        if it.swapped and demand.always_on:
            yield f"{it.demand}: always on, and yet swapped."
        if (
            it.swapped
            and demand.tolerated_wait_seconds is not None
            and it.option.load_seconds > demand.tolerated_wait_seconds
        ):
            yield f"{it.demand}: loads longer than it may."


def _share(problem: Problem, it: Assignment, device_id: str) -> int:
    total = sum(size for name, size in zip(it.devices, it.option.device_bytes, strict=True) if name == device_id)
    host = next(endpoint.host for endpoint in problem.endpoints if endpoint.id == it.endpoint)
    pools = [device for device in problem.devices if device.host == host and device.kind.value in ("host_ram", "unified")]
    ram = next((pool for pool in pools if pool.kind.value == "host_ram"), pools[-1] if pools else None)
    return total + (it.option.host_ram_bytes if ram is not None and ram.id == device_id else 0)


def _bytes(problem: Problem, placement: Placement) -> Iterator[str]:
    for device in problem.devices:
        held = [(it.swapped, _share(problem, it, device.id)) for it in placement.assignments]
        largest = max([size for swapped, size in held if swapped], default=0)
        if placement.swap_bytes.get(device.id, 0) < largest:
            yield f"{device.id}: its swap space is smaller than its largest model."
        total = sum(size for swapped, size in held if not swapped) + max(largest, placement.swap_bytes.get(device.id, 0))
        room = device.capacity_bytes - device.headroom_bytes - device.used_by_others_bytes
        if total > max(0, room):
            yield f"{device.id}: {total} bytes where {room} are to be had."


def _replicas(problem: Problem, placed: Sequence[Assignment]) -> Iterator[str]:
    hosts = {endpoint.id: endpoint.host for endpoint in problem.endpoints}
    for demand in problem.demands:
        mine = [it for it in placed if it.demand == demand.name]
        if len(mine) > demand.replicas:
            yield f"{demand.name}: {len(mine)} instances, {demand.replicas} wanted."
        seats = [name for it in mine for name in (it.devices or (f"CPU of {hosts[it.endpoint]}",))]
        if len(seats) != len(set(seats)):
            yield f"{demand.name}: two instances share a device."


def _endpoints(problem: Problem, placed: Sequence[Assignment]) -> Iterator[str]:
    for endpoint in problem.endpoints:
        here = [it for it in placed if it.endpoint == endpoint.id]
        variants = [it.option.variant for it in here]
        if not endpoint.copies and len(variants) != len(set(variants)):
            yield f"{endpoint.id}: a variant twice."
        models = len([it for it in here if not it.swapped]) + (1 if any(it.swapped for it in here) else 0)
        if endpoint.max_models is not None and models > endpoint.max_models:
            yield f"{endpoint.id}: {models} models, {endpoint.max_models} at most."


def _rules(problem: Problem, placed: Sequence[Assignment]) -> Iterator[str]:
    hosts = {endpoint.id: endpoint.host for endpoint in problem.endpoints}
    for rule in problem.rules:
        members = [it for it in placed if it.demand in rule.demands]
        on_host = rule.scope.value == "host"
        where = [(it.demand, {hosts[it.endpoint]} if on_host else set(it.devices)) for it in members]
        if rule.apart:
            for at, (name, places) in enumerate(where):
                if any(name != other and places & there for other, there in where[:at]):
                    yield f"{name}: beside a demand that it is to be kept apart from."
        elif where and any(places != where[0][1] or len(places) != 1 for _, places in where):
            yield f"{', '.join(sorted(rule.demands))}: not together."


def _figures(problem: Problem, placement: Placement) -> Iterator[str]:
    """The first goals, reckoned again from the definition."""
    demands = {demand.name: demand for demand in problem.demands}
    weights = {1: 16, 2: 8, 3: 4, 4: 2, 5: 1}
    residency = quality = wait = 0
    for it in placement.assignments:
        weight = weights[demands[it.demand].priority]
        residency += weight * (3 if it.option.gpu_layers is None else 1)
        quality += weight * it.option.quality
        wait += weight * (it.option.latency_ms + (round(1000 * it.option.load_seconds) if it.swapped else 0))
    claimed = {result.goal.value: result for result in placement.goals}
    for goal, value in (("residency", residency), ("quality", quality), ("latency", wait)):
        if goal in claimed and claimed[goal].value != value:
            yield f"The {goal} is {value}, not {claimed[goal].value}."
    for result in placement.goals:
        if (result.bound - result.value) * (1 if result.goal.maximised else -1) < 0:
            yield f"The bound of {result.goal.value} is worse than what was reached."
