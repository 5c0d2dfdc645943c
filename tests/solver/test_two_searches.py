"""Two searches side by side: who settled a goal with less work is believed, and both end with the clock."""

from __future__ import annotations

import pytest

from benchmarks.fleets import problem as fleet
from models_app.solver import looks, narrowing, repacking
from models_app.solver.checker import violations
from models_app.solver.narrowing import Narrowing
from models_app.solver.placement import place
from models_app.solver.result import Goal
from models_app.solver.standing import Standing
from models_app.solver.types import Problem
from tests.solver.brute import best_three
from tests.solver.problems import one_host, small_problem, wants

RESIDENCY = list(Goal).index(Goal.RESIDENCY)
LONG = 1e9


def two_models() -> Problem:
    devices, endpoints = one_host(1000)
    return Problem(devices, endpoints, (wants("a", 400), wants("b", 500)))


def standing(ends: float = LONG) -> Standing:
    return Standing(two_models(), (), 1.0, ends)


def settled(known: Standing, value: int, work: float) -> Standing:
    """A twin that has proven a value, and has so much work left."""
    twin = known.twin()
    twin.values = (0, value, 0, 0, 0, 0)
    twin.assignments = place(known.problem).assignments
    twin.bounds[RESIDENCY] = value
    twin.work = work
    return twin


@pytest.mark.parametrize(("looking", "bounding", "left"), [(0.7, 0.4, 0.7), (0.4, 0.7, 0.7)])
def test_who_settled_it_with_less_work_is_believed(looking: float, bounding: float, left: float) -> None:
    known = standing()
    Narrowing(known, RESIDENCY, Goal.RESIDENCY)._merge(settled(known, 24, looking), settled(known, 24, bounding))
    assert known.work == left
    assert known.values[RESIDENCY] == known.bounds[RESIDENCY] == 24


def test_what_one_found_meets_what_the_other_ruled_out() -> None:
    known = standing()
    finding, ruling_out = settled(known, 24, 0.3), known.twin()
    finding.bounds[RESIDENCY] = 30
    ruling_out.bounds[RESIDENCY] = 24
    Narrowing(known, RESIDENCY, Goal.RESIDENCY)._merge(finding, ruling_out)
    assert known.proven(RESIDENCY)
    assert known.work == 0.3


def test_a_twin_lowers_bounds_of_its_own() -> None:
    known = standing()
    before = list(known.bounds)
    known.twin().bound(RESIDENCY, Goal.RESIDENCY, 1)
    assert known.bounds == before


def test_no_search_begins_when_the_clock_has_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_given: object) -> None:
        raise AssertionError("it looked")

    for name in ("look_at_seats", "look_at_patterns"):
        monkeypatch.setattr(looks, name, never)
    placement = place(fleet(9), wall_seconds=1e-3)
    assert violations(fleet(9), placement) == ()


@pytest.mark.parametrize("seed", range(400, 412))
def test_parts_alone_settle_small_problems(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = small_problem(seed)
    monkeypatch.setattr(narrowing, "FEW_GPUS", 0)
    for finding in (looks.Looks, repacking.Repacking):
        monkeypatch.setattr(finding, "run", _nothing)
        monkeypatch.setattr(finding, "stop", _nothing)
    placement = place(problem, 5.0, wall_seconds=60)
    assert violations(problem, placement) == ()
    assert placement.values[:3] == best_three(problem)


def _nothing(*_given: object, **_named: object) -> None: ...


def test_a_fleet_whose_bound_needs_parts_is_settled() -> None:
    placement = place(fleet(2137), wall_seconds=60)
    assert placement.values[:3] == (0, 361, 1118)
    assert all(result.proven for result in placement.goals[:3])
