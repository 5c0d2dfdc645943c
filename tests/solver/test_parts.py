"""Parts of all placements: whatever the cut, the best placement is in one of both, and no search of a part loses it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models_app.solver.counts import Kind
from models_app.solver.packing import PackingModel
from models_app.solver.parts import Part
from models_app.solver.placement import place
from models_app.solver.reach import pool_reaching
from models_app.solver.relaxation import Relaxation
from models_app.solver.result import Goal
from models_app.solver.standing import SOLVED, brisk_solver
from models_app.solver.types import Demand, Endpoint, Option, Problem
from tests.solver.problems import gpu, small_problem, wants
from tests.solver.test_packing import MANY, PLENTY, relaxed

SEEDS = [
    seed
    for seed in range(300, 400)
    if any(len(it.device_bytes) > 1 for d in small_problem(seed).demands for it in d.options)
]


def best_of(relaxation: Relaxation, part: Part, least: int) -> int:
    """The worth of the best packing of the patterns of a part that a value may use, 0 if there is none."""
    pool = pool_reaching(relaxation.programme, part, least, MANY)
    model, solver = (
        PackingModel(relaxation.programme, pool.patterns, relaxation.programme.limits_of(part.counts)),
        brisk_solver(),
    )
    model.cp.maximize(model.worth)
    return round(solver.objective_value) if solver.solve(model.cp) in SOLVED else 0


def halved(relaxation: Relaxation, part: Part) -> list[Part]:
    halves = []
    for half in part.halves():
        relaxation.turn_to(half.counts, half)
        relaxation.tighten(relaxation.seconds + PLENTY, -1)
        halves.append(relaxation.part())
    return halves


@pytest.mark.parametrize("seed", SEEDS[:20])
def test_the_optimum_is_in_one_half_whatever_the_cut(seed: int) -> None:
    problem = small_problem(seed)
    pins, residency, quality = place(problem, 1.0, wall_seconds=60).values[:3]
    for goal, best, floors in (
        (Goal.RESIDENCY, residency, {Goal.PINS: pins}),
        (Goal.QUALITY, quality, {Goal.PINS: pins, Goal.RESIDENCY: residency}),
    ):
        relaxation = relaxed(problem, goal, floors)
        root = relaxation.part()
        for at in relaxation.programme.counts:
            halves = halved(relaxation, replace(root, fractional=(at, 0)))
            assert max(half.bound for half in halves) >= best - 1e-6
            assert max(best_of(relaxation, half, best) for half in halves) >= best


def test_small_problems_count_instances_of_every_kind() -> None:
    relaxations = [relaxed(small_problem(seed), Goal.QUALITY, {}) for seed in SEEDS[:20]]
    assert {kind for relaxation in relaxations for kind, _, _ in relaxation.programme.counts} == set(Kind)


@pytest.mark.parametrize("seed", [*SEEDS[:5], *range(280, 295)])
def test_what_is_left_once_losers_are_left_out_holds_the_optimum(seed: int) -> None:
    problem = small_problem(seed)
    pins, residency, quality = place(problem, 1.0, wall_seconds=60).values[:3]
    for goal, best, floors in (
        (Goal.RESIDENCY, residency, {Goal.PINS: pins}),
        (Goal.QUALITY, quality, {Goal.PINS: pins, Goal.RESIDENCY: residency}),
    ):
        relaxation = relaxed(problem, goal, floors)
        root = relaxation.part()
        relaxation.narrow(root, best)
        relaxation.turn_to({}, root)
        relaxation.tighten(relaxation.seconds + PLENTY, -1)
        assert relaxation.bound >= best - 1e-6
        assert best_of(relaxation, relaxation.part(), best) >= best
        for at in list(relaxation.programme.counts)[:3]:
            assert max(half.bound for half in halved(relaxation, replace(root, fractional=(at, 0)))) >= best - 1e-6


@pytest.mark.parametrize("seed", range(245, 255))
def test_a_bound_that_a_search_lowered_leaves_the_patterns_of_what_is_below(seed: int) -> None:
    problem = small_problem(seed)
    pins, residency, quality = place(problem, 1.0, wall_seconds=60).values[:3]
    relaxation = relaxed(problem, Goal.QUALITY, {Goal.PINS: pins, Goal.RESIDENCY: residency})
    part = relaxation.part().below(quality)
    assert part.bound == pytest.approx(quality)
    assert best_of(relaxation, part, quality) >= quality


def test_a_cut_takes_away_what_half_a_split_model_seemed_to_be_worth() -> None:
    devices = (gpu("gpu0", 1000), gpu("gpu1", 1000))
    endpoint = Endpoint("server", "host", ("gpu0", "gpu1"))
    wide = Demand("wide", (Option("wide", (900, 900)),), priority=1)
    narrow = Demand("narrow", (Option("narrow", (800,)),), priority=1, replicas=2)
    relaxation = relaxed(Problem(devices, (endpoint,), (wide, narrow)), Goal.RESIDENCY, {})
    root = relaxation.part()
    without, with_it = halved(relaxation, replace(root, fractional=((Kind.SPLIT_HERE, "wide", "server"), 0)))
    assert without.bound == pytest.approx(2 * 48)
    assert with_it.bound == pytest.approx(48)


def test_a_cut_tells_options_of_one_demand_apart() -> None:
    devices = (gpu("gpu0", 1000),)
    endpoint = Endpoint("server", "host", ("gpu0",))
    demands = tuple(wants(name, 700, 300, priority=1) for name in ("one", "other"))
    relaxation = relaxed(Problem(devices, (endpoint,), demands), Goal.QUALITY, {Goal.RESIDENCY: 2 * 48})
    root = relaxation.part()
    assert root.fractional is None or root.fractional[0][0] is not Kind.SERVED
    without, with_it = halved(relaxation, replace(root, fractional=((Kind.AS_GOOD, "one", "10"), 0)))
    assert without.bound == pytest.approx(16 * (8 + 10))
    assert with_it.bound == pytest.approx(16 * (10 + 8))
