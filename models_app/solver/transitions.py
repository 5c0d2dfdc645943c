"""From what is loaded now to a placement: an ordered graph of unloads and loads that never exceeds a device.

Steps that touch a device in common come one after the other, so that whatever else runs at the same time, each device sees
the order in which its peaks were checked. Steps without a device in common, on other hosts above all, run in parallel.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from models_app.solver.goals import same_load
from models_app.solver.occupancy import Occupancy
from models_app.solver.types import Assignment, Problem


class Act(StrEnum):
    """What a step does."""

    UNLOAD = "unload"
    LOAD = "load"


@dataclass(frozen=True, slots=True)
class Step:
    """One unload or load. ``after`` are the numbers of the steps that must have ended before it starts.

    A ``detour`` takes away for a while what the placement keeps, or brings it back.
    """

    number: int
    act: Act
    assignment: Assignment
    after: tuple[int, ...]
    detour: bool = False


@dataclass(frozen=True, slots=True)
class Transition:
    """The steps in one valid order. ``impossible`` could not be loaded within the limits, not even with a detour."""

    steps: tuple[Step, ...]
    impossible: tuple[Assignment, ...] = ()

    @property
    def detours(self) -> tuple[Assignment, ...]:
        """What is unloaded for a while and loaded again."""
        return tuple(step.assignment for step in self.steps if step.detour and step.act is Act.UNLOAD)


def transition(problem: Problem, target: tuple[Assignment, ...]) -> Transition:
    """The way from ``problem.current`` to ``target``. Swapped instances are not loaded, but stay where they are loaded."""
    return _Planner(problem, target).run()


class _Planner:
    def __init__(self, problem: Problem, target: tuple[Assignment, ...]) -> None:
        self._problem = problem
        self._kept, self._leaving, self._coming = _difference(problem.current, target)
        self._loaded = Occupancy(problem, problem.current)
        self._steps: list[Step] = []
        self._detoured: list[Assignment] = []
        self._impossible: list[Assignment] = []

    def run(self) -> Transition:
        wanted = {placed.demand for placed in (*self._kept, *self._coming)}
        for gone in [placed for placed in self._leaving if placed.demand not in wanted]:
            self._unload(gone)
        while self._coming:
            self._load_all_that_fit()
            if self._coming and not (self._make_room() or self._detour()):
                self._impossible += self._coming
                self._coming = []
        for rest in list(self._leaving):
            self._unload(rest)
        return Transition(tuple(self._steps), tuple(self._impossible))

    def _load_all_that_fit(self) -> None:
        """Loads what fits, the heaviest demand first; what a move has replaced goes as soon as its successor stands."""
        while fitting := [coming for coming in self._coming if self._loaded.allows(coming)]:
            chosen = min(fitting, key=self._urgency)
            self._coming.remove(chosen)
            self._load(chosen)
            self._retire(chosen.demand)

    def _urgency(self, coming: Assignment) -> tuple[bool, int, int]:
        down = not self._loaded.serves(coming.demand)
        return (not down, -self._weight(coming), -sum(coming.option.loading_bytes))

    def _weight(self, placed: Assignment) -> int:
        demand = self._problem.demand.get(placed.demand)
        return demand.weight if demand else 0

    def _retire(self, demand: str) -> None:
        """Unloads an old instance of a demand for every new one that it has more than it still waits for."""
        still = sum(coming.demand == demand for coming in self._coming)
        old = [placed for placed in self._leaving if placed.demand == demand]
        for placed in old[still:]:
            self._unload(placed)

    def _make_room(self) -> bool:
        """Unloads of what leaves anyway: one that lets something load, the least missed; else the least missed."""
        leaving = sorted(self._leaving, key=self._missed)
        enough = (it for it in leaving if any(self._loaded.allows(coming, without=it) for coming in self._coming))
        useful = (it for it in leaving if any(self._loaded.shares(it, coming) for coming in self._coming))
        chosen = next(enough, None) or next(useful, None)
        if chosen is not None:
            self._unload(chosen)
        return chosen is not None

    def _missed(self, placed: Assignment) -> tuple[bool, bool, int, float]:
        """Cheapest first: a replica that others stand in for, then what can come back at once, by weight and time."""
        own = [coming for coming in self._coming if coming.demand == placed.demand]
        returns = any(self._loaded.allows(coming, without=placed) for coming in own)
        alone = self._loaded.count(placed.demand) == 1
        return (alone, not returns, self._weight(placed), sum(coming.option.load_seconds for coming in own))

    def _detour(self) -> bool:
        """Takes away for a while what stays, so that a load with a high peak gets through; each at most once."""
        for coming in sorted(self._coming, key=lambda it: -max((*it.option.loading_bytes, 0))):
            staying = sorted(self._loaded.instances, key=lambda it: (self._weight(it), it.option.total_bytes))
            for placed in staying:
                fresh = placed not in self._detoured and placed.demand != coming.demand
                if fresh and self._loaded.allows(coming, without=placed) and not self._higher(placed, coming):
                    self._detoured.append(placed)
                    self._unload(placed, detour=True)
                    self._coming.remove(coming)
                    self._load(coming)
                    self._coming.append(placed)
                    return True
        return False

    def _higher(self, placed: Assignment, coming: Assignment) -> bool:
        """Whether coming back would need a higher peak than what it makes way for."""
        return _excess(placed) > _excess(coming)

    def _unload(self, placed: Assignment, *, detour: bool = False) -> None:
        self._add(Act.UNLOAD, placed, detour=detour)
        self._loaded.remove(placed)
        if placed in self._leaving:
            self._leaving.remove(placed)

    def _load(self, coming: Assignment) -> None:
        self._add(Act.LOAD, coming, detour=coming in self._detoured)
        self._loaded.add(coming)

    def _add(self, act: Act, placed: Assignment, *, detour: bool) -> None:
        after = tuple(step.number for step in self._steps if self._ordered(step, placed))
        self._steps.append(Step(len(self._steps), act, placed, after, detour))

    def _ordered(self, step: Step, placed: Assignment) -> bool:
        same_demand = step.assignment.demand == placed.demand
        same_endpoint = step.assignment.endpoint == placed.endpoint and self._limited(placed.endpoint)
        return same_demand or same_endpoint or self._loaded.shares(step.assignment, placed)

    def _limited(self, endpoint: str) -> bool:
        """Whether what an endpoint may load depends on what else it holds."""
        found = self._problem.endpoint[endpoint]
        return not found.copies or found.max_models is not None


def _excess(placed: Assignment) -> int:
    """How far loading goes above what it then holds."""
    return max(
        (peak - size for peak, size in zip(placed.option.loading_bytes, placed.option.device_bytes, strict=True)), default=0
    )


def _difference(
    current: tuple[Assignment, ...], target: tuple[Assignment, ...]
) -> tuple[list[Assignment], list[Assignment], list[Assignment]]:
    """What stays, what leaves and what comes. A target instance is met by at most one that is loaded."""
    open_targets = list(target)
    kept, leaving = [], []
    for loaded in current:
        met = next((it for it in open_targets if _stands(loaded, it)), None)
        if met is None:
            leaving.append(loaded)
        else:
            open_targets.remove(met)
            kept.append(loaded)
    return kept, leaving, [it for it in open_targets if not it.swapped]


def _stands(loaded: Assignment, wanted: Assignment) -> bool:
    as_wanted = Assignment(loaded.demand, loaded.option, loaded.endpoint, loaded.devices, wanted.swapped)
    return same_load(as_wanted, wanted)
