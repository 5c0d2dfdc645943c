"""Room by device while instances are added one at a time: what every greedy placement stands on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations

from models_app.solver.choices import Choice
from models_app.solver.types import Assignment, DeviceSets, Problem, Rule, Scope

SETS_TRIED = 200
"""How many device sets of one choice a greedy placement looks at."""


class Ledger:
    """What has been placed and what room is left."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.assignments: list[Assignment] = []
        self._resident: dict[str, int] = defaultdict(int)
        self._swap: dict[str, int] = defaultdict(int)
        self._rules: dict[str, list[Rule]] = defaultdict(list)
        for rule in problem.rules:
            for name in rule.demands:
                self._rules[name].append(rule)

    @classmethod
    def of(cls, problem: Problem, assignments: Iterable[Assignment]) -> Ledger:
        """The ledger after these instances were placed."""
        ledger = cls(problem)
        for assignment in assignments:
            ledger.add(assignment)
        return ledger

    def free(self, device: str) -> int:
        """Usable bytes that neither a resident instance nor the swap space holds."""
        return self.problem.device[device].usable_bytes - self._resident[device] - self._swap[device]

    def fits(self, assignment: Assignment) -> bool:
        """Whether memory, the endpoint and every rule allow it beside what is placed."""
        for device, size in self.problem.taken(assignment).items():
            growth = max(0, size - self._swap[device]) if assignment.swapped else size
            if growth > self.free(device):
                return False
        return self._endpoint_allows(assignment) and self._siblings_allow(assignment) and self._rules_allow(assignment)

    def add(self, assignment: Assignment) -> None:
        """Places it. The caller has asked whether it fits."""
        self.assignments.append(assignment)
        for device, size in self.problem.taken(assignment).items():
            if assignment.swapped:
                self._swap[device] = max(self._swap[device], size)
            else:
                self._resident[device] += size

    def remove(self, assignment: Assignment) -> None:
        """Takes it away again and shrinks the swap spaces that it alone needed."""
        self.assignments.remove(assignment)
        for device, size in self.problem.taken(assignment).items():
            if assignment.swapped:
                others = (self.problem.taken(other).get(device, 0) for other in self.assignments if other.swapped)
                self._swap[device] = max(others, default=0)
            else:
                self._resident[device] -= size

    def seat(self, choice: Choice) -> Assignment | None:
        """The instance of a choice that leaves the least room unused on its devices (best fit)."""
        for devices in self._device_sets(choice):
            assignment = Assignment(choice.demand.name, choice.option, choice.endpoint.id, devices, choice.swapped)
            if self.fits(assignment):
                return assignment
        return None

    def _device_sets(self, choice: Choice) -> Iterator[tuple[str, ...]]:
        """Sets of the right size, tightest first; the largest share goes to the emptiest device of the set."""
        if choice.size == 0:
            yield ()
            return
        by_room = sorted(choice.devices, key=lambda name: (self.free(name), name))
        if choice.endpoint.sets is DeviceSets.WHOLE:
            by_room = list(choice.devices)
        shares = sorted(range(choice.size), key=lambda rank: choice.option.device_bytes[rank])
        for _, devices in zip(range(SETS_TRIED), combinations(by_room, choice.size), strict=False):
            placed = [""] * choice.size
            for rank, name in zip(shares, devices, strict=True):
                placed[rank] = name
            yield tuple(placed)

    def is_full(self, choice: Choice) -> bool:
        """Whether the choice's endpoint has as many models as it keeps, and this would be one more."""
        beside = [other for other in self.assignments if other.endpoint == choice.endpoint.id]
        swapping = any(other.swapped for other in beside)
        count = sum(not other.swapped for other in beside) + swapping
        most = choice.endpoint.max_models
        return most is not None and count >= most and not (swapping and choice.swapped)

    def _endpoint_allows(self, assignment: Assignment) -> bool:
        endpoint = self.problem.endpoint[assignment.endpoint]
        beside = [other for other in self.assignments if other.endpoint == endpoint.id]
        if not endpoint.copies and any(other.option.variant == assignment.option.variant for other in beside):
            return False
        resident = sum(not other.swapped for other in (*beside, assignment))
        swapping = any(other.swapped for other in (*beside, assignment))
        return endpoint.max_models is None or resident + swapping <= endpoint.max_models

    def _siblings_allow(self, assignment: Assignment) -> bool:
        host = self.problem.endpoint[assignment.endpoint].host
        siblings = [other for other in self.assignments if other.demand == assignment.demand]
        if not assignment.devices:
            return not any(not other.devices and self._host(other) == host for other in siblings)
        return not any(set(other.devices) & set(assignment.devices) for other in siblings)

    def _rules_allow(self, assignment: Assignment) -> bool:
        return all(self._rule_allows(rule, assignment) for rule in self._rules[assignment.demand])

    def _rule_allows(self, rule: Rule, assignment: Assignment) -> bool:
        here = self._places(rule, assignment)
        if not rule.apart and rule.scope is Scope.DEVICE and len(here) != 1:
            return False
        for other in self.assignments:
            if other.demand not in rule.demands:
                continue
            there = self._places(rule, other)
            if rule.apart and other.demand != assignment.demand and here & there:
                return False
            if not rule.apart and here != there:
                return False
        return True

    def _places(self, rule: Rule, assignment: Assignment) -> set[str]:
        return {self._host(assignment)} if rule.scope is Scope.HOST else set(assignment.devices)

    def _host(self, assignment: Assignment) -> str:
        return self.problem.endpoint[assignment.endpoint].host
