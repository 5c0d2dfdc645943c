"""What placements do: residency, variants, sets, swap spaces, pins, rules, endpoints, current loads, bad input."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_app.solver.checker import violations
from models_app.solver.goals import better
from models_app.solver.placement import place
from models_app.solver.result import Change, Goal, Placement
from models_app.solver.types import (
    Assignment,
    Demand,
    Device,
    DeviceKind,
    DeviceSets,
    Endpoint,
    Option,
    Problem,
    Rule,
    Scope,
)
from models_app.solver.validate import InvalidProblem
from tests.solver.problems import gpu, one_host, small_problem, wants


def solved(problem: Problem) -> Placement:
    placement = place(problem, wall_seconds=20)
    assert violations(problem, placement) == ()
    return placement


def by_demand(placement: Placement) -> dict[str, list[Assignment]]:
    found: dict[str, list[Assignment]] = {}
    for placed in placement.assignments:
        found.setdefault(placed.demand, []).append(placed)
    return found


def test_a_smaller_variant_is_taken_where_it_lets_everybody_in() -> None:
    placement = solved(Problem(*one_host(100), (wants("a", 80, 50, priority=1), wants("b", 50, priority=5))))
    assert {it.option.variant for it in placement.assignments} == {"a-50", "b-50"}
    assert better(placement.values, placement.baseline)
    assert placement.proven


def test_the_more_important_demand_stays_when_only_one_fits() -> None:
    placement = solved(Problem(*one_host(100), (wants("a", 60, priority=3), wants("b", 60, priority=2))))
    assert [it.demand for it in placement.assignments] == ["b"]
    assert [(it.demand, it.served, it.needed_bytes, it.free_bytes) for it in placement.unmet] == [("a", 0, 60, 40)]


def test_demands_that_may_wait_share_a_space_of_the_largest() -> None:
    waiting = [wants(name, 60, always_on=False) for name in ("a", "b", "c")]
    placement = solved(Problem(*one_host(100), (*waiting, wants("d", 40))))
    assert placement.swap_bytes == {"gpu0": 60}
    assert not placement.unmet


def test_a_demand_that_tolerates_no_wait_is_not_swapped() -> None:
    hasty = [wants(name, 60, always_on=False, tolerated_wait_seconds=1.0) for name in ("a", "b")]
    assert len(solved(Problem(*one_host(100), tuple(hasty))).assignments) == 1


def test_replicas_take_a_gpu_each() -> None:
    placement = solved(Problem(*one_host(100, 100), (wants("a", 40, replicas=3),)))
    assert sorted(it.devices for it in placement.assignments) == [("gpu0",), ("gpu1",)]
    assert "replica" in placement.unmet[0].reason


def test_a_model_too_large_for_one_gpu_is_split_in_the_order_of_its_shares() -> None:
    demand = Demand("a", (Option("a", (90, 40)),))
    placement = solved(Problem(*one_host(50, 100), (demand,)))
    assert placement.assignments[0].devices == ("gpu1", "gpu0")


@pytest.mark.parametrize(("sets", "served"), [(DeviceSets.WHOLE, 1), (DeviceSets.ONE_OR_WHOLE, 0), (DeviceSets.ANY, 1)])
def test_an_endpoint_gets_only_sets_that_it_can_form(sets: DeviceSets, served: int) -> None:
    size = 3 if sets is DeviceSets.WHOLE else 2
    placement = solved(Problem(*one_host(10, 10, 10, sets=sets), (Demand("a", (Option("a", (8,) * size),)),)))
    assert len(placement.assignments) == served


def test_ollama_holds_a_variant_once_and_no_more_models_than_it_may() -> None:
    demands = (wants("a", 10, replicas=2), wants("b", 10), wants("c", 10))
    placement = solved(Problem(*one_host(100, 100, copies=False, max_models=2), demands))
    assert len(placement.assignments) == 2
    assert len(by_demand(placement).get("a", [])) <= 1


def test_layers_go_to_the_cpu_only_where_nothing_else_is_left_and_with_a_warning() -> None:
    spilling = replace(wants("a", 80).options[0], device_bytes=(40,), host_ram_bytes=40, gpu_layers=10)
    demand = Demand("a", (*wants("a", 80).options, spilling))
    assert solved(Problem(*one_host(100, ram=100), (demand,))).warnings == ()
    crowded = solved(Problem(*one_host(100, ram=100), (demand, wants("b", 60, priority=1))))
    assert "3 to 10 times slower" in crowded.warnings[0]
    assert crowded.values[1] == 16 * 3 + 4 * 1


def test_unified_memory_gives_both_shares_and_a_cpu_host_serves_without_gpus() -> None:
    unified = (Device("mac", "host", DeviceKind.UNIFIED, 100),), (Endpoint("server", "host", ("mac",)),)
    assert solved(Problem(*unified, (Demand("a", (Option("a", (60,), host_ram_bytes=50),)),))).assignments == ()
    assert solved(Problem(*unified, (Demand("a", (Option("a", (60,), host_ram_bytes=40),)),))).assignments
    cpu = (Device("ram", "host", DeviceKind.HOST_RAM, 100),), (Endpoint("server", "host"),)
    assert solved(Problem(*cpu, (Demand("a", (Option("a", (), host_ram_bytes=90, gpu_layers=0),)),))).assignments


def test_a_pin_comes_before_every_priority() -> None:
    pinned = wants("a", 60, priority=5, pinned_devices=frozenset({"gpu0"}))
    placement = solved(Problem(*one_host(100), (wants("b", 60, priority=1), pinned)))
    assert [it.demand for it in placement.assignments] == ["a"]


def test_headroom_and_other_programs_are_left_alone() -> None:
    device = gpu("gpu0", 100, headroom_bytes=10, used_by_others_bytes=20)
    endpoints = (Endpoint("server", "host", ("gpu0",)),)
    assert solved(Problem((device,), endpoints, (wants("a", 71),))).assignments == ()
    assert solved(Problem((device,), endpoints, (wants("a", 70),))).assignments


def test_demands_are_kept_apart_and_together() -> None:
    demands = tuple(wants(name, 30) for name in "abc")
    rules = (Rule(frozenset("ab"), Scope.DEVICE), Rule(frozenset("bc"), Scope.DEVICE, apart=False))
    placed = by_demand(solved(Problem(*one_host(100, 100), demands, rules)))
    assert placed["a"][0].devices != placed["b"][0].devices == placed["c"][0].devices


def test_what_runs_stays_where_it_is_when_nothing_is_gained() -> None:
    fleet, demands = one_host(100, 100), (wants("a", 60), wants("b", 60))
    loaded = tuple(Assignment(it.name, it.options[0], "server", (f"gpu{1 - at}",)) for at, it in enumerate(demands))
    placement = solved(Problem(*fleet, demands, current=loaded))
    assert set(placement.assignments) == set(loaded)
    assert placement.goals[list(Goal).index(Goal.DISRUPTION)].value == 0


def test_models_are_spread_when_nothing_else_decides() -> None:
    placement = solved(Problem(*one_host(100, 100), (wants("a", 40), wants("b", 40))))
    assert {it.devices for it in placement.assignments} == {("gpu0",), ("gpu1",)}


def test_every_remedy_of_an_unmet_demand_meets_it() -> None:
    gib = 1024**3
    devices, endpoints = one_host(10 * gib)
    demands = (
        Demand("a", (Option("a:Q8_0", (9 * gib,)),), priority=1),
        Demand("b", tuple(Option("b:Q8_0", (size * gib // 10,), 0, tokens) for size, tokens in ((30, 32768), (12, 8192)))),
    )
    problem = Problem(devices, endpoints, demands)
    remedies = {it.change: it for it in solved(problem).unmet[0].remedies}
    assert remedies[Change.DROP].demands == ("a",)
    assert "Q6_K" in remedies[Change.QUANTISE].description
    assert "5,376 tokens" in remedies[Change.SHORTEN].description
    more = gpu("gpu1", int(remedies[Change.ADD_GPU].bytes * 0.93))
    bigger = Problem((*devices, more), (replace(endpoints[0], devices=("gpu0", "gpu1")),), demands)
    assert solved(bigger).unmet == ()


def test_a_demand_that_exceeds_everything_says_so_in_numbers() -> None:
    placement = solved(Problem(*one_host(8 * 1024**3), (wants("a", 40 * 1024**3),)))
    assert "needs 40.0 GiB" in placement.unmet[0].reason
    assert "the largest GPU gives 8.0 GiB" in placement.unmet[0].reason


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_too_large_for_every_gpu_is_offered_smaller(count: int) -> None:
    gib = 1024**3
    problem = Problem(*one_host(8 * gib, 8 * gib), (Demand("a", (Option("a:Q8_0", (10 * gib,) * count),)),))
    remedies = {it.change: it for it in solved(problem).unmet[0].remedies}
    assert remedies[Change.QUANTISE].bytes <= 8 * gib
    assert ("on each of 2 GPUs" in remedies[Change.QUANTISE].description) is (count == 2)


def test_what_could_be_dropped_is_sought_on_the_gpu_where_it_helps() -> None:
    small = [wants(f"s{number}", 10, priority=4, pinned_devices=frozenset({"gpu0"})) for number in range(5)]
    halves = [wants(name, 50, priority=3, pinned_devices=frozenset({"gpu1"})) for name in ("left", "right")]
    wanted = wants("wanted", 100, priority=5, allowed_devices=frozenset({"gpu1"}))
    (unmet,) = solved(Problem(*one_host(100, 100), (*small, *halves, wanted))).unmet
    remedies = {it.change: it for it in unmet.remedies}
    assert set(remedies[Change.DROP].demands) == {"left", "right"}


def test_bad_input_is_refused_with_every_reason() -> None:
    devices, endpoints = one_host(100)
    demands = (
        Demand("nothing", ()),
        wants("a", 10, priority=9, replicas=0),
        wants("b", 10, pinned_devices=frozenset({"gpu9"})),
        wants("b", 10, allowed_devices=frozenset(), pinned_devices=frozenset({"gpu0"})),
    )
    rules = (Rule(frozenset({"a", "b"})), Rule(frozenset({"a", "b"}), apart=False), Rule(frozenset({"ghost"})))
    with pytest.raises(InvalidProblem) as refused:
        place(Problem(devices, endpoints, demands, rules))
    words = str(refused.value)
    for expected in (
        "no option",
        "priority 9",
        "0 replicas",
        "'gpu9'",
        "named 2 times",
        "does not allow",
        "together and apart",
        "'ghost'",
    ):
        assert expected in words


def test_nothing_wanted_is_an_answer() -> None:
    assert solved(Problem(*one_host(100), ())).proven


@settings(max_examples=25, deadline=None)
@given(st.integers(min_value=1000, max_value=10**6), st.integers(min_value=50, max_value=500))
def test_more_headroom_never_serves_more(seed: int, headroom: int) -> None:
    problem = small_problem(seed)
    tighter = replace(problem, devices=tuple(replace(it, headroom_bytes=headroom) for it in problem.devices))
    assert not better((*solved(tighter).values[:2], 0, 0, 0, 0), (*solved(problem).values[:2], 0, 0, 0, 0))


def test_a_server_that_has_as_many_models_as_it_keeps_is_the_reason_not_the_room():
    placement = solved(Problem(*one_host(100, max_models=2), tuple(wants(name, 10) for name in "abc")))
    [unmet] = placement.unmet
    assert unmet.reason == "No endpoint that may serve it takes one more: each keeps 2 models at most, and has them."
    assert {it.change for it in unmet.remedies} >= {Change.DROP}


def test_without_a_gpu_the_ram_that_is_left_is_told():
    ram = Device("ram", "host", DeviceKind.HOST_RAM, 100)
    one = Endpoint("one", "host", (), DeviceSets.WHOLE)
    demands = tuple(Demand(name, (Option(name, (), host_ram_bytes=60, gpu_layers=0),)) for name in "ab")
    [unmet] = solved(Problem((ram,), (one,), demands)).unmet
    assert unmet.free_bytes == 40
    assert "the most that is left where it may run is 0.0 GiB, on ram" in unmet.reason
