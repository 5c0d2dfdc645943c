"""What a set of assignments is worth: the goals' values, in order, as whole numbers.

- Pins and residency: weight × 3 for each instance on GPUs, weight × 1 for one that leaves layers to the CPU, which makes it
  3 to 10 times slower. Pins count the pinned demands alone.
- Quality: weight × quality of each instance.
- Latency: weight × (milliseconds of a request, and of the load where it is swapped).
- Disruption: the weights of what is loaded now and is not kept as it is; 1 for what nobody demands.
- Balance: the largest share in use of any GPU, in thousandths, rounded up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from models_app.solver.choices import Choice
from models_app.solver.result import Goal
from models_app.solver.types import Assignment, Demand, Option, Problem

CREDIT_ON_GPU = 3
CREDIT_SPILLED = 1
PER_MILLE = 1000

Values = tuple[int, ...]


def credit(option: Option) -> int:
    """What an instance counts for residency, before its demand's weight."""
    return CREDIT_SPILLED if option.spills else CREDIT_ON_GPU


def worth(goal: Goal, choice: Choice) -> int:
    """What an instance of a choice counts for pins, residency or quality."""
    demand, option = choice.demand, choice.option
    if goal is Goal.QUALITY:
        return demand.weight * option.quality
    counts = goal is Goal.RESIDENCY or demand.pinned_devices is not None
    return demand.weight * credit(option) if counts else 0


def latency(option: Option, swapped: bool) -> int:
    """Milliseconds that a typical request waits, the load included where there is one."""
    return option.latency_ms + (round(option.load_seconds * 1000) if swapped else 0)


def kept_weight(problem: Problem, loaded: Assignment) -> int:
    """What it costs to unload or move what is loaded now."""
    demand = problem.demand.get(loaded.demand)
    return demand.weight if demand else 1


def used_bytes(problem: Problem, assignments: Iterable[Assignment]) -> tuple[dict[str, int], dict[str, int]]:
    """By device, the bytes of resident instances, and the swap space: that of the largest swapped instance."""
    resident: dict[str, int] = defaultdict(int)
    swap: dict[str, int] = defaultdict(int)
    for assignment in assignments:
        for device, size in problem.taken(assignment).items():
            if assignment.swapped:
                swap[device] = max(swap[device], size)
            else:
                resident[device] += size
    return dict(resident), dict(swap)


def same_load(one: Assignment, other: Assignment) -> bool:
    """Whether one can stand for the other without a reload: demand, endpoint, option and devices agree."""
    if (one.demand, one.endpoint, one.swapped) != (other.demand, other.endpoint, other.swapped):
        return False
    return one.option == other.option and _devices(one) == _devices(other)


def _devices(assignment: Assignment) -> tuple[str, ...]:
    """In order, unless all shares are equal: then the order does not matter."""
    even = len(set(assignment.option.device_bytes)) <= 1
    return tuple(sorted(assignment.devices)) if even else assignment.devices


def values(problem: Problem, assignments: tuple[Assignment, ...]) -> Values:
    """The goals' values, in the order of ``Goal``."""
    resident, swap = used_bytes(problem, assignments)
    found = dict.fromkeys(Goal, 0)
    for assignment in assignments:
        demand, option = problem.demand[assignment.demand], assignment.option
        found[Goal.PINS] += _pinned(demand) * demand.weight * credit(option)
        found[Goal.RESIDENCY] += demand.weight * credit(option)
        found[Goal.QUALITY] += demand.weight * option.quality
        found[Goal.LATENCY] += demand.weight * latency(option, assignment.swapped)
    for loaded in problem.current:
        if not any(same_load(loaded, assignment) for assignment in assignments):
            found[Goal.DISRUPTION] += kept_weight(problem, loaded)
    for device in problem.devices:
        if device.is_gpu and device.usable_bytes:
            used = resident.get(device.id, 0) + swap.get(device.id, 0)
            found[Goal.BALANCE] = max(found[Goal.BALANCE], -(-PER_MILLE * used // device.usable_bytes))
    return tuple(found[goal] for goal in Goal)


def _pinned(demand: Demand) -> bool:
    return demand.pinned_devices is not None


def better(one: Values, other: Values) -> bool:
    """Whether the first is strictly better, goal by goal."""
    return _ranked(one) > _ranked(other)


def _ranked(scored: Values) -> Values:
    return tuple(value if goal.maximised else -value for goal, value in zip(Goal, scored, strict=True))
