"""When each step of a transition runs and who is down for how long, beside unloading all and loading all again."""

from __future__ import annotations

from dataclasses import dataclass

from models_app.solver.transitions import Act, Step, Transition
from models_app.solver.types import Assignment, Problem

UNLOAD_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Downtime:
    """Seconds without any instance, by demand that is served before and after, and how long all of it takes."""

    seconds: dict[str, float]
    total_seconds: float

    @property
    def models(self) -> int:
        """How many are down at some time."""
        return sum(down > 0 for down in self.seconds.values())

    @property
    def down_seconds(self) -> float:
        """All of them together."""
        return sum(self.seconds.values())


def downtime(problem: Problem, plan: Transition) -> Downtime:
    """Every step starts as soon as what it waits for has ended."""
    ends: dict[int, float] = {}
    events: list[tuple[float, int, str]] = []
    for step in plan.steps:
        start = max((ends[number] for number in step.after), default=0.0)
        ends[step.number] = start + _seconds(step)
        loads = step.act is Act.LOAD
        events.append((ends[step.number] if loads else start, 1 if loads else -1, step.assignment.demand))
    return Downtime(_down(problem.current, events), max(ends.values(), default=0.0))


def downtime_of_reloading_all(problem: Problem, target: tuple[Assignment, ...]) -> Downtime:
    """Everything is unloaded at once; then every host loads its part, one model after the other."""
    coming = [placed for placed in target if not placed.swapped]
    events = [(0.0, -1, placed.demand) for placed in problem.current]
    clock: dict[str, float] = {}
    for placed in coming:
        host = problem.endpoint[placed.endpoint].host
        clock[host] = clock.get(host, UNLOAD_SECONDS) + placed.option.load_seconds
        events.append((clock[host], 1, placed.demand))
    return Downtime(_down(problem.current, events), max(clock.values(), default=UNLOAD_SECONDS))


def _seconds(step: Step) -> float:
    return step.assignment.option.load_seconds if step.act is Act.LOAD else UNLOAD_SECONDS


def _down(current: tuple[Assignment, ...], events: list[tuple[float, int, str]]) -> dict[str, float]:
    """At the same moment a load counts before an unload, as the graph orders them."""
    down: dict[str, float] = {}
    for demand in {placed.demand for placed in current}:
        count, since, lost = sum(placed.demand == demand for placed in current), 0.0, 0.0
        for at, change, _ in sorted((event for event in events if event[2] == demand), key=lambda it: (it[0], -it[1])):
            if count == 0:
                lost += at - since
            count, since = count + change, at
        if count > 0:
            down[demand] = lost
    return down
