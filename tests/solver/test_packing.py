"""Enumerated patterns lose no optimum, and what is assembled from them holds before the independent checker."""

from __future__ import annotations

import numpy as np
import pytest
from ortools.sat.python import cp_model

from benchmarks.fleets import problem as fleet
from models_app.solver.checker import violations
from models_app.solver.choices import choices_of
from models_app.solver.dominance import undominated
from models_app.solver.enumeration import NONE
from models_app.solver.goals import better, used_bytes
from models_app.solver.model import PlacementModel
from models_app.solver.model_rules import add_rules
from models_app.solver.packing import PackingModel
from models_app.solver.placement import place
from models_app.solver.reach import Pool, choices_reaching, pool_reaching
from models_app.solver.relaxation import Relaxation
from models_app.solver.result import Goal, Placement
from models_app.solver.seating import seated
from models_app.solver.standing import SOLVED, brisk_solver, thorough_solver
from models_app.solver.types import Assignment, Endpoint, Problem, Rule, Scope
from models_app.solver.unpacking import unpacked
from tests.solver.problems import gpu, small_problem, wants

PLENTY = 60.0
MANY = 100_000


def relaxed(problem: Problem, goal: Goal, floors: dict[Goal, int]) -> Relaxation:
    choices = {demand.name: choices_of(problem, demand) for demand in problem.demands}
    relaxation = Relaxation(problem, undominated(problem, choices, goal), goal, floors)
    relaxation.tighten(PLENTY, -1)
    return relaxation


def assembled(relaxation: Relaxation, least: int) -> tuple[int, tuple[Assignment, ...]]:
    """The worth of the best packing of all patterns that a value may use, and what is read from it."""
    pool = pool_reaching(relaxation.programme, relaxation.part(), least, MANY)
    assert pool.elsewhere < least
    model, solver = PackingModel(relaxation.programme, pool.patterns), brisk_solver()
    model.cp.maximize(model.worth)
    assert solver.solve(model.cp) in SOLVED
    return round(solver.objective_value), unpacked(model, solver.value)


def solved(model: PackingModel) -> int:
    """The worth of the best packing, 0 if there is none."""
    solver = brisk_solver()
    model.cp.maximize(model.worth)
    return round(solver.objective_value) if solver.solve(model.cp) in SOLVED else 0


def best_among(relaxation: Relaxation, pool: Pool) -> int:
    return solved(PackingModel(relaxation.programme, pool.patterns))


@pytest.mark.parametrize("seed", range(230, 245))
def test_the_patterns_within_reach_of_the_optimum_hold_it(seed: int) -> None:
    problem = small_problem(seed)
    pins, residency, quality = place(problem, 1.0, wall_seconds=60).values[:3]
    for goal, best, floors in (
        (Goal.RESIDENCY, residency, {Goal.PINS: pins}),
        (Goal.QUALITY, quality, {Goal.PINS: pins, Goal.RESIDENCY: residency}),
    ):
        worth, assignments = assembled(relaxed(problem, goal, floors), best)
        assert worth >= best
        _, swap = used_bytes(problem, assignments)
        assert violations(problem, Placement(assignments, swap, ())) == ()


def test_replicas_and_split_models_are_dealt_to_gpus_of_their_own() -> None:
    devices = tuple(gpu(f"gpu{at}", 1000) for at in range(4))
    endpoint = Endpoint("server", "host", tuple(device.id for device in devices))
    split = wants("split", 700)
    halves = type(split)("split", (type(split.options[0])("split", (700, 700)),), priority=1)
    problem = Problem(devices, (endpoint,), (halves, wants("twice", 600, replicas=2), wants("small", 300)))
    worth, assignments = assembled(relaxed(problem, Goal.RESIDENCY, {}), 0)
    placed = sorted(it.demand for it in assignments)
    assert placed == ["small", "split", "twice", "twice"]
    assert worth == sum(3 * problem.demand[name].weight for name in placed)


def test_what_swaps_takes_the_room_of_the_largest_only() -> None:
    endpoint = Endpoint("server", "host", ("gpu0",), max_models=2)
    waiting = tuple(wants(name, 600, always_on=False) for name in "abc")
    problem = Problem((gpu("gpu0", 1000),), (endpoint,), (*waiting, wants("d", 400)))
    worth, assignments = assembled(relaxed(problem, Goal.RESIDENCY, {}), 0)
    assert worth == 4 * 12
    assert sum(it.swapped for it in assignments) == 3


def test_no_pattern_is_larger_than_its_gpu_and_none_is_listed_that_could_hold_more() -> None:
    endpoint = Endpoint("server", "host", ("gpu0",))
    problem = Problem((gpu("gpu0", 1000),), (endpoint,), tuple(wants(f"d{at}", 250 + at) for at in range(5)))
    relaxation = relaxed(problem, Goal.RESIDENCY, {})
    (patterns,) = pool_reaching(relaxation.programme, relaxation.part(), 0, MANY).patterns
    assert set((patterns.seats != NONE).sum(axis=1)) == {3}
    assert len(patterns) == 10
    assert np.all(patterns.losses >= -1e-6)


@pytest.mark.parametrize("seed", range(245, 275))
def test_what_a_pool_leaves_out_is_worth_no_more_than_it_says(seed: int) -> None:
    problem = small_problem(seed)
    pins, residency, quality = place(problem, 1.0, wall_seconds=60).values[:3]
    relaxation = relaxed(problem, Goal.QUALITY, {Goal.PINS: pins, Goal.RESIDENCY: residency})
    for most in (2, 5, 15):
        pool = pool_reaching(relaxation.programme, relaxation.part(), 0, most)
        assert len(pool) <= most
        assert max(best_among(relaxation, pool), pool.elsewhere) >= quality - 1e-6


def test_a_pool_of_everything_says_that_nothing_is_elsewhere() -> None:
    problem = Problem((gpu("gpu0", 1000),), (Endpoint("server", "host", ("gpu0",)),), (wants("a", 250), wants("b", 900)))
    relaxation = relaxed(problem, Goal.RESIDENCY, {})
    assert pool_reaching(relaxation.programme, relaxation.part(), 7, MANY).elsewhere == 6
    assert pool_reaching(relaxation.programme, relaxation.part(), 7, 1).elsewhere >= 12


@pytest.mark.parametrize("seed", [*range(230, 240), *range(300, 310)])
def test_the_patterns_of_a_placement_make_it_up_again(seed: int) -> None:
    problem = small_problem(seed)
    placement = place(problem, 1.0, wall_seconds=60)
    relaxation = relaxed(problem, Goal.QUALITY, {})
    none = [
        patterns.of(patterns.losses < 0)
        for patterns in pool_reaching(relaxation.programme, relaxation.part(), 0, 5).patterns
    ]
    begin = seated(relaxation.programme, placement.assignments)
    assert solved(PackingModel(relaxation.programme, none, begin=begin)) >= placement.values[2]


def test_what_swaps_is_kept_apart_from_what_stays() -> None:
    endpoint = Endpoint("server", "host", ("gpu0",))
    waiting, staying = wants("waiting", 300, always_on=False), wants("staying", 300)
    rule = Rule(frozenset({"waiting", "staying"}), Scope.DEVICE)
    problem = Problem((gpu("gpu0", 1000),), (endpoint,), (waiting, staying), (rule,))
    assert relaxed(problem, Goal.RESIDENCY, {}).bound == pytest.approx(12)
    assert assembled(relaxed(problem, Goal.RESIDENCY, {}), 0)[0] == 12


@pytest.mark.parametrize("wall_seconds", [1e-6, 1e-3])
def test_a_clock_that_has_run_out_leaves_the_greedy_answer(wall_seconds: float) -> None:
    problem = small_problem(11)
    placement = place(problem, wall_seconds=wall_seconds)
    assert violations(problem, placement) == ()
    assert not better(placement.baseline, placement.values)


def test_a_presolve_step_that_loses_placements_stays_off() -> None:
    problem = fleet(355)
    relaxation = relaxed(problem, Goal.QUALITY, {Goal.PINS: 0, Goal.RESIDENCY: 73})
    model, solver = (
        PlacementModel(problem, choices_reaching(relaxation.programme, relaxation.part(), 345)),
        thorough_solver(),
    )
    add_rules(model)
    model.cp.add(model.goal[Goal.RESIDENCY] >= 73)
    model.cp.maximize(model.goal[Goal.QUALITY])
    assert solver.solve(model.cp) == cp_model.OPTIMAL
    assert round(solver.objective_value) == 345
