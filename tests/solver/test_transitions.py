"""Ways from one state to another: never over a limit, overlapping where there is room, detours said so."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from benchmarks.transitions import out_of_reach, pair
from models_app.solver.timeline import downtime, downtime_of_reloading_all
from models_app.solver.transitions import Act, Transition, transition
from models_app.solver.types import Assignment, Demand, Option, Problem
from tests.solver.problems import one_host, wants
from tests.solver.replay import replay


def at(demand: Demand, *devices: str, option: int = 0) -> Assignment:
    return Assignment(demand.name, demand.options[option], "server", devices)


def told(plan: Transition) -> list[tuple[str, str]]:
    return [(step.act.value, step.assignment.demand) for step in plan.steps]


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_no_step_of_random_transitions_exceeds_a_limit_in_any_order_that_the_graph_allows(first: int) -> None:
    for seed in range(first, first + 20):
        problem, target = pair(seed)
        plan = transition(problem, target)
        wrong, loaded = replay(problem, plan, random.Random(seed))
        assert wrong == []
        missing = [it for it in target if not it.swapped and not any(_same(it, held) for held in loaded)]
        assert not missing or plan.impossible
        assert plan.impossible or not out_of_reach(problem, target)


def _same(wanted: Assignment, held: Assignment) -> bool:
    return (wanted.demand, wanted.option, sorted(wanted.devices)) == (held.demand, held.option, sorted(held.devices))


def test_what_stays_is_not_touched() -> None:
    a, b = wants("a", 50), wants("b", 40)
    problem = Problem(*one_host(100), (a, b), current=(at(a, "gpu0"),))
    assert told(transition(problem, (at(a, "gpu0"), at(b, "gpu0")))) == [("load", "b")]


def test_a_served_model_moves_without_being_down_where_there_is_room() -> None:
    a = wants("a", 50)
    problem = Problem(*one_host(100, 100), (a,), current=(at(a, "gpu0"),))
    plan = transition(problem, (at(a, "gpu1"),))
    assert told(plan) == [("load", "a"), ("unload", "a")]
    assert plan.steps[1].after == (0,)
    assert downtime(problem, plan).models == 0


def test_without_room_a_model_is_down_only_while_its_successor_loads() -> None:
    a = wants("a", 60, 50)
    problem = Problem(*one_host(100), (a,), current=(at(a, "gpu0"),))
    plan = transition(problem, (at(a, "gpu0", option=1),))
    assert told(plan) == [("unload", "a"), ("load", "a")]
    down = downtime(problem, plan)
    assert (down.models, down.down_seconds) == (1, 6.0)


def test_two_models_that_change_places_need_only_one_of_them_down() -> None:
    a, b = wants("a", 60), wants("b", 60)
    problem = Problem(*one_host(100, 100), (a, b), current=(at(a, "gpu0"), at(b, "gpu1")))
    target = (at(a, "gpu1"), at(b, "gpu0"))
    plan = transition(problem, target)
    assert downtime(problem, plan).models == 1
    assert downtime_of_reloading_all(problem, target).models == 2


def test_hosts_work_in_parallel() -> None:
    a, b = wants("a", 60), wants("b", 60)
    plan = transition(Problem(*one_host(100, 100), (a, b)), (at(a, "gpu0"), at(b, "gpu1")))
    assert [step.after for step in plan.steps] == [(), ()]


def test_a_detour_takes_away_what_stays_for_a_while_and_says_so() -> None:
    a = Demand("a", (Option("a", (40,)),))
    peaky = Demand("b", (Option("b", (50,), peak_bytes=(80,)),))
    problem = Problem(*one_host(100), (a, peaky), current=(at(a, "gpu0"),))
    plan = transition(problem, (at(a, "gpu0"), at(peaky, "gpu0")))
    assert told(plan) == [("unload", "a"), ("load", "b"), ("load", "a")]
    assert plan.detours == (at(a, "gpu0"),)
    assert [step.detour for step in plan.steps] == [True, False, True]


def test_what_no_order_can_load_is_said_to_be_impossible() -> None:
    demand = Demand("b", (Option("b", (50,), peak_bytes=(120,)),))
    plan = transition(Problem(*one_host(100), (demand,)), (at(demand, "gpu0"),))
    assert plan.impossible == (at(demand, "gpu0"),)
    assert plan.steps == ()


def test_an_endpoint_without_copies_reloads_a_variant_instead_of_holding_it_twice() -> None:
    a = Demand("a", (Option("a", (20,), context_length=8192), Option("a", (10,))))
    problem = Problem(*one_host(100, copies=False), (a,), current=(at(a, "gpu0"),))
    assert told(transition(problem, (at(a, "gpu0", option=1),))) == [("unload", "a"), ("load", "a")]


def test_what_is_swapped_is_not_loaded_but_stays_where_it_is() -> None:
    a, b = wants("a", 60, always_on=False), wants("b", 60, always_on=False)
    problem = Problem(*one_host(100), (a, b), current=(at(a, "gpu0"),))
    target = tuple(replace(at(it, "gpu0"), swapped=True) for it in (a, b))
    assert transition(problem, target).steps == ()


def test_the_replay_catches_a_plan_that_loads_before_it_unloads() -> None:
    a, b = wants("a", 60), wants("b", 60)
    problem = Problem(*one_host(100), (a, b), current=(at(a, "gpu0"),))
    plan = transition(problem, (at(b, "gpu0"),))
    careless = Transition(tuple(replace(step, after=()) for step in plan.steps if step.act is Act.LOAD))
    assert replay(problem, careless, random.Random(0))[0]
