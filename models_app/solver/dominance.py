"""Leaves out choices that cannot help a goal: another of the same demand is as good there and takes no more.

Residency and quality do not care about latency, so for them the smaller option, and the swapped before the resident one,
stands for both. What is found with the rest is optimal for all.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from models_app.solver.choices import Choice
from models_app.solver.goals import credit
from models_app.solver.result import Goal
from models_app.solver.types import Assignment, Problem

Choices = dict[str, tuple[Choice, ...]]


def undominated(problem: Problem, choices: Choices, goal: Goal) -> Choices:
    """The choices that matter for pins, residency or quality; for any later goal all of them."""
    if goal not in (Goal.PINS, Goal.RESIDENCY, Goal.QUALITY):
        return choices
    shared = shared_variants(problem)
    return {name: _front(listed, shared, goal) for name, listed in choices.items()}


def shared_variants(problem: Problem) -> frozenset[str]:
    """The variants that more than one demand names: an endpoint without copies holds them for one of them only."""
    named = Counter(name for demand in problem.demands for name in {option.variant for option in demand.options})
    return frozenset(name for name, count in named.items() if count > 1)


def stand_in(choices: tuple[Choice, ...], assignment: Assignment, shared: frozenset[str], goal: Goal) -> Choice | None:
    """The choice that stands for an assignment among those left: its own, or the one that dominates it."""
    own = next((choice for choice in choices if _is_own(choice, assignment)), None)
    if own is not None:
        return own
    return next((choice for choice in choices if _covers(choice, assignment, shared, goal)), None)


def _front(listed: tuple[Choice, ...], shared: frozenset[str], goal: Goal) -> tuple[Choice, ...]:
    """Compares within an endpoint and a number of devices, the smallest first: only a smaller one can dominate."""
    kept: dict[tuple[str, int], list[Choice]] = defaultdict(list)
    for choice in sorted(listed, key=lambda it: (it.option.total_bytes, not it.swapped, -it.option.quality)):
        alike = kept[choice.endpoint.id, choice.size]
        if not any(_dominates(other, choice, shared, goal) for other in alike):
            alike.append(choice)
    return tuple(choice for alike in kept.values() for choice in alike)


def _dominates(one: Choice, other: Choice, shared: frozenset[str], goal: Goal) -> bool:
    if one.endpoint is not other.endpoint or one.size != other.size or (other.swapped and not one.swapped):
        return False
    as_small = one.option.host_ram_bytes <= other.option.host_ram_bytes and all(
        mine <= theirs for mine, theirs in zip(one.option.device_bytes, other.option.device_bytes, strict=True)
    )
    as_good = credit(one.option) >= credit(other.option) and (
        goal is not Goal.QUALITY or one.option.quality >= other.option.quality
    )
    return as_small and as_good and _as_free(one, other, shared)


def _as_free(one: Choice, other: Choice, shared: frozenset[str]) -> bool:
    """Whether the endpoint would hold it wherever it holds the other."""
    if one.option.variant == other.option.variant or one.endpoint.copies:
        return True
    return one.demand.replicas == 1 and one.option.variant not in shared


def _is_own(choice: Choice, assignment: Assignment) -> bool:
    same_place = choice.endpoint.id == assignment.endpoint and choice.swapped == assignment.swapped
    return same_place and choice.option == assignment.option


def _covers(choice: Choice, assignment: Assignment, shared: frozenset[str], goal: Goal) -> bool:
    if choice.endpoint.id != assignment.endpoint:
        return False
    own = Choice(choice.demand, assignment.option, choice.endpoint, assignment.devices, choice.ram, assignment.swapped)
    return _dominates(choice, own, shared, goal)
