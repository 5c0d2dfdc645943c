"""P5: placement on random and hand-made fleets up to 16 GPUs × 60 demands, against the greedy allocation.

Every answer goes through the independent checker. Seconds include model building and the greedy start; they are taken when
the first two goals (residency, quality) are done, by the clock and of the processor: two cores are used, and the clock of a
shared machine says little. ``proven`` is within the second of work that the solver counts itself.

    python -m benchmarks.placement [fleets [every [first]]]
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from benchmarks.fleets import problem
from benchmarks.handmade_fleets import FLEETS, handmade
from models_app.solver.checker import violations
from models_app.solver.goals import better
from models_app.solver.placement import place
from models_app.solver.result import Goal, Placement
from models_app.solver.search import Search
from models_app.solver.types import Problem

LIMIT_SECONDS = 1.0
PATIENCE_SECONDS = 30.0
TWO_GOALS = (Goal.PINS, Goal.RESIDENCY, Goal.QUALITY)


Times = tuple[float, float]
"""By the clock, and of the processor."""


class Watch:
    """The time at which the goals after the first two begin."""

    def __init__(self) -> None:
        self.until: Times | None = None
        improve = Search._improve

        def watched(search: Search, at: int, goal: Goal) -> None:
            if goal not in TWO_GOALS and not self.until:
                self.until = now()
            improve(search, at, goal)

        Search._improve = watched  # type: ignore[method-assign]

    def place(self, fleet: Problem, seconds: float, wall_seconds: float) -> tuple[Placement, Times]:
        self.until, begun = None, now()
        placement = place(fleet, seconds, wall_seconds)
        clock, processor = self.until or now()
        return placement, (clock - begun[0], processor - begun[1])


def now() -> Times:
    return time.monotonic(), time.process_time()


def fleets(count: int) -> Iterator[tuple[str, Problem]]:
    yield from ((name, handmade(name)) for name in FLEETS)
    yield from ((f"random {seed}", problem(seed)) for seed in range(count))


def main(count: int, every: int = 1, first: int = 0) -> None:
    watch, counts = Watch(), Counter[str]()
    by_size: dict[str, Counter[str]] = {}
    gaps: list[float] = []
    for name, fleet in islice(fleets(count), first, None, every):
        placement, (clock, processor) = watch.place(fleet, LIMIT_SECONDS, PATIENCE_SECONDS)
        wrong = violations(fleet, placement)
        assert not wrong, (name, wrong)
        assert not better(placement.baseline, placement.values), name
        proven = all(result.proven for result in placement.goals if result.goal in TWO_GOALS)
        gpus = sum(device.is_gpu for device in fleet.devices)
        size = "1-2" if gpus <= 2 else "3-4" if gpus <= 4 else "5-8" if gpus <= 8 else "9-16"
        first_three = len(TWO_GOALS)
        facts = {
            "fleets": True,
            "greedy beaten": better(placement.values, placement.baseline),
            "beaten in residency or quality": placement.values[:first_three] != placement.baseline[:first_three],
            "proven": proven,
            "by the clock within 1 s": proven and clock <= LIMIT_SECONDS,
            "of the processor within 1 s": proven and processor <= LIMIT_SECONDS,
        }
        for fact in (fact for fact, holds in facts.items() if holds):
            counts[fact] += 1
            by_size.setdefault(size, Counter())[fact] += 1
        gaps += [] if proven else [max(result.gap for result in placement.goals if result.goal in TWO_GOALS)]
    for size, sized in (*sorted(by_size.items()), ("all", counts)):
        rest = ", ".join(f"{fact} {sized[fact] / sized['fleets']:.1%}" for fact in list(facts)[1:])
        print(f"{size:>5} GPUs: {sized['fleets']} fleets; {rest}")
    if gaps:
        print(f"where not proven: median gap {sorted(gaps)[len(gaps) // 2]:.2%}, largest {max(gaps):.2%}")
    large(watch)


def large(watch: Watch) -> None:
    """64 GPUs and about 300 demands."""
    fleet = problem(1, gpus=64, most_demands=300, small=True)
    begun = time.monotonic()
    placement, _ = watch.place(fleet, 5.0, 5.0)
    reached = ", ".join(
        f"{it.goal} {it.value} of {it.bound} ({it.gap:.2%})" for it in placement.goals if it.goal in TWO_GOALS
    )
    print(f"64 GPUs × {len(fleet.demands)} demands in {time.monotonic() - begun:.1f} s: {reached}")
    assert not violations(fleet, placement)


if __name__ == "__main__":
    main(*(int(given) for given in sys.argv[1:] or ["500"]))
