"""Repacking finds what is better, breaks no rule, and leaves earlier goals as good as they are."""

from __future__ import annotations

import pytest

from benchmarks.fleets import problem as fleet
from models_app.solver.checker import violations
from models_app.solver.goals import used_bytes, values
from models_app.solver.greedy import best_start, greedy
from models_app.solver.ledger import Ledger
from models_app.solver.placement import place
from models_app.solver.repacking import Repacking, opened
from models_app.solver.result import Goal, Placement
from models_app.solver.standing import Standing
from models_app.solver.types import Problem, Rule
from tests.solver.problems import one_host, small_problem, wants

RESIDENCY, QUALITY = (list(Goal).index(goal) for goal in (Goal.RESIDENCY, Goal.QUALITY))
LONG = 1e9


def standing(problem: Problem, work: float) -> Standing:
    return Standing(problem, best_start(problem, greedy(problem)), work, LONG)


def repacked(known: Standing, at: int, goal: Goal) -> None:
    """Repacks, and checks what is known then."""
    before = known.values
    Repacking(known, at, goal).run(0.0)
    assert known.values == values(known.problem, known.assignments)
    assert known.values[: at + 1] >= before[: at + 1]
    _, swap = used_bytes(known.problem, known.assignments)
    assert violations(known.problem, Placement(known.assignments, swap, ())) == ()


@pytest.mark.parametrize("seed", range(420, 440))
def test_nothing_is_broken_and_earlier_goals_stay(seed: int) -> None:
    known = standing(small_problem(seed), 0.1)
    for at, goal in ((RESIDENCY, Goal.RESIDENCY), (QUALITY, Goal.QUALITY)):
        repacked(known, at, goal)


@pytest.mark.parametrize("seed", range(440, 450))
def test_a_few_gpus_are_repacked_to_the_best(seed: int) -> None:
    problem = small_problem(seed)
    known = standing(problem, 0.3)
    best = place(problem, 1.0, wall_seconds=60).values
    known.bounds[RESIDENCY] = best[RESIDENCY]
    repacked(known, RESIDENCY, Goal.RESIDENCY)
    assert known.values[RESIDENCY] == best[RESIDENCY]


def test_much_more_than_greedy_is_found_on_many_gpus() -> None:
    known = standing(fleet(2016), 0.3)
    assert known.values[RESIDENCY] == 583
    repacked(known, RESIDENCY, Goal.RESIDENCY)
    assert known.values[RESIDENCY] >= 590


def test_what_stays_keeps_its_room_and_its_rules() -> None:
    devices, endpoints = one_host(1000, 1000, copies=False, max_models=3)
    demands = (wants("twice", 600, replicas=2), wants("small", 300), wants("other", 350))
    problem = Problem(devices, endpoints, demands, (Rule(frozenset({"small", "other"})),))
    ledger = Ledger(problem)
    start = greedy(problem)
    opening = opened(problem, Standing(problem, start, 1.0, LONG).choices, start, {"gpu0"})
    for assignment in (*opening.staying, *opening.before):
        assert ledger.fits(assignment)
        ledger.add(assignment)
    assert {device.id: device.usable_bytes for device in opening.problem.devices} == {"gpu0": 1000}
    assert all(it.devices == ("gpu0",) for it in opening.before)
    assert opening.problem.endpoints[0].max_models == 3 - len(opening.staying)


def test_a_search_that_is_stopped_leaves_what_was_known() -> None:
    known = standing(fleet(2016), 0.3)
    before = known.values
    repacking = Repacking(known, RESIDENCY, Goal.RESIDENCY)
    repacking.stop()
    repacking.run(0.0)
    assert known.values == before
