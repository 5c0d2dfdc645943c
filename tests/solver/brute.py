"""Every placement of a small problem, tried one by one over the raw demands, held against the independent checker."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations

from models_app.solver.checker import violations
from models_app.solver.result import Placement
from models_app.solver.types import Assignment, Demand, Problem

WEIGHTS = {1: 16, 2: 8, 3: 4, 4: 2, 5: 1}


Worth = tuple[int, int, int]


def best_three(problem: Problem) -> Worth:
    """The best of the pinned, then the best residency, then the best quality."""
    return max(_placements(problem, 0, ()), default=(0, 0, 0))


def _placements(problem: Problem, at: int, placed: tuple[Assignment, ...]) -> Iterator[Worth]:
    if at == len(problem.demands):
        yield _worth(problem, placed)
        return
    demand = problem.demands[at]
    singles = list(_instances(problem, demand))
    for count in range(demand.replicas + 1):
        for chosen in combinations(singles, count):
            further = (*placed, *chosen)
            if not count or not violations(problem, Placement(further, _swap(problem, further), ())):
                yield from _placements(problem, at + 1, further)


def _instances(problem: Problem, demand: Demand) -> Iterator[Assignment]:
    gpus = {device.id for device in problem.devices if device.kind.value != "host_ram"}
    hosts_with_ram = {device.host for device in problem.devices if device.kind.value in ("host_ram", "unified")}
    for option in demand.options:
        for endpoint in problem.endpoints:
            if option.host_ram_bytes and endpoint.host not in hosts_with_ram:
                continue
            for devices in permutations(sorted(gpus & set(endpoint.devices)), len(option.device_bytes)):
                if len(set(option.device_bytes)) > 1 or list(devices) == sorted(devices):
                    yield Assignment(demand.name, option, endpoint.id, devices)
                    if not demand.always_on:
                        yield Assignment(demand.name, option, endpoint.id, devices, swapped=True)


def _swap(problem: Problem, placed: tuple[Assignment, ...]) -> dict[str, int]:
    spaces: dict[str, int] = {}
    for it in placed:
        if it.swapped:
            for device, size in problem.taken(it).items():
                spaces[device] = max(spaces.get(device, 0), size)
    return spaces


def _worth(problem: Problem, placed: tuple[Assignment, ...]) -> Worth:
    by_name = {demand.name: demand for demand in problem.demands}
    pins = residency = quality = 0
    for it in placed:
        weight = WEIGHTS[by_name[it.demand].priority]
        counted = weight * (1 if it.option.gpu_layers is not None else 3)
        residency += counted
        pins += counted if by_name[it.demand].pinned_devices is not None else 0
        quality += weight * it.option.quality
    return pins, residency, quality
