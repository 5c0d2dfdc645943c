"""Small problems are solved to the optimum, and every answer holds before the independent checker."""

from __future__ import annotations

import pytest

from benchmarks.fleets import problem as fleet
from models_app.solver import narrowing
from models_app.solver.checker import violations
from models_app.solver.goals import better
from models_app.solver.placement import place
from tests.solver.brute import best_three
from tests.solver.problems import small_problem


def reach_what_trying_everything_reaches(seeds: range, seconds: float) -> None:
    for seed in seeds:
        problem = small_problem(seed)
        placement = place(problem, seconds, wall_seconds=60)
        assert violations(problem, placement) == ()
        assert placement.values[:3] == best_three(problem), seed
        assert all(result.proven for result in placement.goals[:3])


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_small_problems_reach_what_trying_everything_reaches(first: int) -> None:
    reach_what_trying_everything_reaches(range(first, first + 10), 5.0)


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_small_problems_reach_the_same_by_patterns(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrowing, "FEW_GPUS", 0)
    reach_what_trying_everything_reaches(range(first, first + 20, 2), 1.5)


@pytest.mark.parametrize("seed", range(60, 90))
def test_no_answer_breaks_a_rule_or_is_worse_than_greedy(seed: int) -> None:
    problem = small_problem(seed)
    placement = place(problem)
    assert violations(problem, placement) == ()
    assert not better(placement.baseline, placement.values)


def test_the_same_problem_has_the_same_answer() -> None:
    problem = small_problem(7)
    assert place(problem, wall_seconds=20) == place(problem, wall_seconds=20)


def test_split_models_on_many_gpus_are_settled() -> None:
    placement = place(fleet(9), wall_seconds=60)
    assert placement.values[:3] == (0, 565, 1852)
    assert all(result.proven for result in placement.goals[:3])


def test_a_window_is_not_ruled_out_by_a_presolve_that_loses_placements() -> None:
    placement = place(fleet(355), wall_seconds=20)
    assert placement.values[:3] == (0, 73, 345)
