"""Transitions: random pairs of states replayed in a simulator that charges load peaks, against unload all, load all.

Loading takes up to 8 % more than what is then held. A pair whose target cannot be reached in any order, because on some
device even the least of the peaks does not fit beside the rest, is counted apart: the planner has to say so.

    python -m benchmarks.transitions [pairs]
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace

from benchmarks.fleets import problem
from models_app.solver.goals import same_load, used_bytes
from models_app.solver.greedy import frugal, greedy
from models_app.solver.occupancy import peak
from models_app.solver.timeline import downtime, downtime_of_reloading_all
from models_app.solver.transitions import transition
from models_app.solver.types import Assignment, Option, Problem
from tests.solver.replay import replay

PEAK = 1.08


def peaked(option: Option, rng: random.Random) -> Option:
    return replace(option, peak_bytes=tuple(int(size * rng.uniform(1, PEAK)) for size in option.device_bytes))


def pair(seed: int) -> tuple[Problem, tuple[Assignment, ...]]:
    """A fleet with something loaded, and a placement of other demands, or of the same with other priorities."""
    rng = random.Random(seed)
    drawn = problem(seed, most_demands=30)
    demands = [replace(it, options=tuple(peaked(option, rng) for option in it.options)) for it in drawn.demands]
    fleet = replace(drawn, demands=tuple(demands), rules=())

    def state() -> tuple[Assignment, ...]:
        some = rng.sample(demands, rng.randint(1, len(demands)))
        shuffled = tuple(replace(it, priority=rng.randint(1, 5)) for it in some)
        return rng.choice((greedy, frugal))(replace(fleet, demands=shuffled))

    loaded = tuple(placed for placed in state() if not placed.swapped)
    return replace(fleet, current=loaded), state()


def out_of_reach(fleet: Problem, target: tuple[Assignment, ...]) -> bool:
    """Whether on some device the last load, whichever it is, exceeds the limit."""
    resident = [placed for placed in target if not placed.swapped]
    held, _ = used_bytes(fleet, resident)
    for device in fleet.devices:
        here = [placed for placed in resident if device.id in placed.devices]
        least = min((peak(fleet, it)[device.id] - fleet.taken(it)[device.id] for it in here), default=0)
        comes = any(not any(same_load(loaded, it) for loaded in fleet.current) for it in here)
        if comes and held[device.id] + least > device.usable_bytes:
            return True
    return False


def main(pairs: int) -> None:
    over = unreachable = gave_up = detours = steps = 0
    ours, theirs = [0, 0.0, 0.0], [0, 0.0, 0.0]
    for seed in range(pairs):
        fleet, target = pair(seed)
        plan = transition(fleet, target)
        wrong, _ = replay(fleet, plan, random.Random(seed))
        over += len(wrong)
        steps += len(plan.steps)
        detours += len(plan.detours)
        if plan.impossible:
            unreachable += out_of_reach(fleet, target)
            gave_up += not out_of_reach(fleet, target)
            continue
        for total, figures in ((ours, downtime(fleet, plan)), (theirs, downtime_of_reloading_all(fleet, target))):
            total[0] += figures.models
            total[1] += figures.down_seconds
            total[2] += figures.total_seconds
    print(f"{pairs} pairs, {steps} steps, {over} over the limit; {detours} detours")
    print(f"{unreachable} targets out of reach and said so; {gave_up} given up that may be reachable")
    for name, mine, other in zip(("models down", "seconds down", "seconds in all"), ours, theirs, strict=True):
        print(f"{name}: {mine:.0f} against {other:.0f} for unload all, load all: {mine / max(other, 1):.2f} ×")
    assert not over


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
