"""The bound over patterns is never below the truth, and no choice of a best placement is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from ortools.sat.python import cp_model

from models_app.solver.choices import choices_of
from models_app.solver.dominance import Choices, undominated
from models_app.solver.model import PlacementModel
from models_app.solver.model_rules import add_rules
from models_app.solver.placement import place
from models_app.solver.reach import choices_reaching
from models_app.solver.relaxation import Relaxation
from models_app.solver.result import Goal
from models_app.solver.types import Demand, DeviceKind, DeviceSets, Endpoint, Option, Problem
from tests.solver.problems import gpu, one_host, small_problem, wants

PLENTY = 60.0


def relaxed(problem: Problem, goal: Goal, floors: Mapping[Goal, int]) -> Relaxation:
    choices: Choices = {demand.name: choices_of(problem, demand) for demand in problem.demands}
    relaxation = Relaxation(problem, undominated(problem, choices, goal), goal, floors)
    relaxation.tighten(PLENTY, -1)
    return relaxation


def best_of(problem: Problem, choices: Choices, goal: Goal, floors: Mapping[Goal, int]) -> int:
    """The optimum of the exact model with these choices alone."""
    model = PlacementModel(problem, choices)
    add_rules(model)
    for earlier, value in floors.items():
        model.cp.add(model.goal[earlier] >= value)
    model.cp.maximize(model.goal[goal])
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    assert solver.solve(model.cp) == cp_model.OPTIMAL
    return round(solver.objective_value)


@pytest.mark.parametrize("seed", range(200, 230))
def test_the_bound_and_what_it_leaves_hold_the_optimum(seed: int) -> None:
    problem = small_problem(seed)
    optimum = dict(zip(Goal, place(problem, 5.0).values, strict=True))
    floors = {Goal.PINS: optimum[Goal.PINS], Goal.RESIDENCY: optimum[Goal.RESIDENCY]}
    for goal, kept in ((Goal.RESIDENCY, {Goal.PINS: floors[Goal.PINS]}), (Goal.QUALITY, floors)):
        relaxation = relaxed(problem, goal, kept)
        assert relaxation.bound >= optimum[goal] - 1e-6
        assert (
            best_of(problem, choices_reaching(relaxation.programme, relaxation.part(), optimum[goal]), goal, kept)
            == optimum[goal]
        )


def test_it_knows_that_two_models_of_more_than_half_do_not_fit_on_one_gpu() -> None:
    devices = tuple(gpu(f"gpu{at}", 1000) for at in range(3))
    endpoint = Endpoint("server", "host", tuple(device.id for device in devices))
    problem = Problem(devices, (endpoint,), tuple(wants(f"d{at}", 510) for at in range(5)))
    assert relaxed(problem, Goal.RESIDENCY, {}).bound == pytest.approx(3 * 12)


def test_models_of_different_servers_share_a_gpu_and_its_bytes() -> None:
    devices = (gpu("gpu0", 1000),)
    servers = tuple(Endpoint(name, "host", ("gpu0",), DeviceSets.WHOLE, max_models=1) for name in ("one", "other"))
    problem = Problem(devices, servers, tuple(wants(f"d{at}", 400) for at in range(3)))
    assert relaxed(problem, Goal.RESIDENCY, {}).bound == pytest.approx(2 * 12)


def test_unified_memory_counts_both_halves_of_a_model() -> None:
    pool = gpu("pool", 1000)
    unified = type(pool)("pool", "host", DeviceKind.UNIFIED, 1000)
    endpoint = Endpoint("server", "host", ("pool",))
    demands = []
    for at in range(2):
        demand = wants(f"d{at}", 300)
        option = type(demand.options[0])(demand.name, (300,), host_ram_bytes=300)
        demands.append(type(demand)(demand.name, (option,)))
    problem = Problem((unified,), (endpoint,), tuple(demands))
    assert relaxed(problem, Goal.RESIDENCY, {}).bound < 2 * 12


def test_a_large_model_that_swaps_has_to_fit_into_host_ram_beside_what_stays() -> None:
    devices, endpoints = one_host(1000, ram=1000)
    spilled = Option("half", (100,), host_ram_bytes=600, gpu_layers=9)
    staying = Demand("staying", (spilled,))
    waiting = [Demand(name, (replace(spilled, variant=name),), always_on=False) for name in ("one", "other")]
    assert relaxed(Problem(devices, endpoints, tuple(waiting)), Goal.RESIDENCY, {}).bound == pytest.approx(2 * 4)
    both = relaxed(Problem(devices, endpoints, (staying, *waiting)), Goal.RESIDENCY, {})
    assert both.bound == pytest.approx((2 + 2 / 3) * 4)
