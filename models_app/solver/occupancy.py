"""What is loaded at a moment of a transition, and whether one more load stays within every limit while it loads."""

from __future__ import annotations

from collections.abc import Iterable

from models_app.solver.types import Assignment, Problem


class Occupancy:
    """Loaded instances and the bytes that they hold on each device, swapped or not."""

    def __init__(self, problem: Problem, instances: Iterable[Assignment]) -> None:
        self._problem = problem
        self._used = dict.fromkeys((device.id for device in problem.devices), 0)
        self.instances: list[Assignment] = []
        for placed in instances:
            self.add(placed)

    def add(self, placed: Assignment) -> None:
        """It is loaded."""
        self.instances.append(placed)
        for device, size in self._problem.taken(placed).items():
            self._used[device] += size

    def remove(self, placed: Assignment) -> None:
        """It is unloaded."""
        self.instances.remove(placed)
        for device, size in self._problem.taken(placed).items():
            self._used[device] -= size

    def allows(self, coming: Assignment, without: Assignment | None = None) -> bool:
        """Whether it could be loaded now, or once ``without`` were gone."""
        freed = self._problem.taken(without) if without is not None else {}
        for device, size in peak(self._problem, coming).items():
            if self._used[device] - freed.get(device, 0) + size > self._problem.device[device].usable_bytes:
                return False
        return self._endpoint_allows(coming, without)

    def _endpoint_allows(self, coming: Assignment, without: Assignment | None) -> bool:
        endpoint = self._problem.endpoint[coming.endpoint]
        beside = [it for it in self.instances if it.endpoint == endpoint.id]
        if without in beside:
            beside.remove(without)
        if not endpoint.copies and any(it.option.variant == coming.option.variant for it in beside):
            return False
        return endpoint.max_models is None or len(beside) < endpoint.max_models

    def serves(self, demand: str) -> bool:
        """Whether an instance of the demand is loaded."""
        return self.count(demand) > 0

    def count(self, demand: str) -> int:
        """How many instances of the demand are loaded."""
        return sum(placed.demand == demand for placed in self.instances)

    def shares(self, one: Assignment, other: Assignment) -> bool:
        """Whether two instances have a device in common, host RAM included."""
        return not self._problem.taken(one).keys().isdisjoint(self._problem.taken(other))


def peak(problem: Problem, coming: Assignment) -> dict[str, int]:
    """The bytes that a load takes on each device at its highest."""
    held = problem.taken(coming)
    steps = zip(coming.devices, coming.option.loading_bytes, coming.option.device_bytes, strict=True)
    return held | {device: held[device] + high - size for device, high, size in steps}
