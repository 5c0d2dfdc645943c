"""From demands and a fleet to a plan: what is offered, what is decided, what is explained."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from models_app.agent.supervision.spec import ServerSpec
from models_app.catalog.models import CatalogModel, Variant
from models_app.inventory.models import Endpoint, ManagedServer
from models_app.plans.answers import Solved, answer_columns
from models_app.plans.changes import AddedGpu, Changes
from models_app.plans.demand import read_demand
from models_app.plans.records import Instance
from models_app.plans.snapshot import take_snapshot
from models_app.plans.solving import solve
from models_app.solver.checker import violations
from models_app.telemetry.models import LatestSample
from tests.factories import GIB
from tests.plans.fleets import OneHost, one_host

pytestmark = pytest.mark.django_db


def solved(*documents: dict[str, Any], changes: Changes | None = None) -> Solved:
    found = solve(take_snapshot(changes or Changes()), [read_demand(document) for document in documents])
    assert violations(found.posed.problem, found.placement) == ()
    return found


def placed(found: Solved) -> dict[str, list[Instance]]:
    by_demand: dict[str, list[Instance]] = {}
    for assignment in found.target:
        instance = found.posed.instance(assignment)
        by_demand.setdefault(instance.demand, []).append(instance)
    return by_demand


def demand(model: str = "llama3.1:8b", **more: Any) -> dict[str, Any]:
    return {"name": more.pop("name", model), "model": model} | more


@pytest.fixture
def host() -> OneHost:
    made = one_host(gpus=2)
    made.install("llama3.1:8b")
    made.install("phi4:14b", parameter_count=14_700_000_000, file_size_bytes=9_000_000_000)
    return made


def test_a_demand_is_placed_with_the_options_that_make_it_so(host: OneHost) -> None:
    (instance,) = placed(solved(demand(context_length=16384)))["llama3.1:8b"]
    assert (instance.model, instance.endpoint, instance.context_length) == ("llama3.1:8b", host.endpoint.name, 16384)
    assert instance.options == {
        "context_length": 16384,
        "gpu": instance.gpus[0],
        "keep_alive_seconds": -1,
        "pinned": True,
    }
    assert instance.load_options.context_length == 16384
    assert instance.bytes[instance.gpus[0]] > 5 * GIB


def test_what_other_programs_use_is_not_given_away(host: OneHost) -> None:
    host.sample(others_gib=(16, 0))
    (instance,) = placed(solved(demand("phi4:14b")))["phi4:14b"]
    assert instance.gpus == (host.gpus[1].uuid,)


def test_the_context_shrinks_to_what_fits_but_not_below_the_least(host: OneHost) -> None:
    host.sample(others_gib=(12, 22))
    wanted = demand(context_length=65536, least_context_length=8192)
    (instance,) = placed(solved(wanted))["llama3.1:8b"]
    assert 8192 <= (instance.context_length or 0) < 65536
    assert instance.quality < 10


def test_the_preferred_variant_comes_first_and_the_next_one_where_it_does_not_fit(host: OneHost) -> None:
    wanted = demand("phi4:14b", name="chat", variants=["phi4:14b", "llama3.1:8b"])
    assert [each.model for each in placed(solved(wanted))["chat"]] == ["phi4:14b"]
    host.sample(others_gib=(13, 22), ram_gib=8)
    assert [each.model for each in placed(solved(wanted))["chat"]] == ["llama3.1:8b"]


def test_a_family_stands_for_its_installed_variants_the_largest_first(host: OneHost) -> None:
    host.install("tiny:1b", model__name="tiny", parameter_count=10**9, file_size_bytes=10**9)
    host.install("tiny:3b", model__name="tiny2", parameter_count=3 * 10**9, file_size_bytes=3 * 10**9)
    Variant.objects.filter(name="tiny:3b").update(model=CatalogModel.objects.get(name="tiny"))
    (instance,) = placed(solved(demand("tiny")))["tiny"]
    assert instance.model == "tiny:3b"


def test_what_is_loaded_as_demanded_stays_and_nothing_has_to_be_done(host: OneHost) -> None:
    host.load("llama3.1:8b", gpu=1)
    host.sample()
    found = solved(demand())
    (instance,) = placed(found)["llama3.1:8b"]
    assert (instance.gpus, instance.grade) == ((host.gpus[1].uuid,), "measured")
    assert found.way.steps == ()


def test_what_nobody_demands_stays_while_there_is_room_and_goes_where_there_is_none(host: OneHost) -> None:
    host.load("llama3.1:8b", gpu=0)
    host.sample()
    assert [each.model for each in placed(solved(demand("phi4:14b")))[""]] == ["llama3.1:8b"]
    host.sample(others_gib=(12, 20))
    found = solved(demand("phi4:14b"))
    assert "" not in placed(found)
    assert [(step.act, step.assignment.option.variant) for step in found.way.steps] == [
        ("unload", "llama3.1:8b Q4_K_M"),
        ("load", "phi4:14b Q4_K_M"),
    ]


def test_a_model_that_fits_no_single_gpu_is_divided_over_all_of_them(host: OneHost) -> None:
    host.install("big:32b", parameter_count=32_000_000_000, file_size_bytes=24_000_000_000)
    (instance,) = placed(solved(demand("big:32b")))["big:32b"]
    assert set(instance.gpus) == {gpu.uuid for gpu in host.gpus}
    assert "gpu" not in instance.options


def test_layers_go_to_the_cpu_where_nothing_else_is_left_and_it_is_said(host: OneHost) -> None:
    host.sample(others_gib=(17.5, 17.5))
    found = solved(demand())
    (instance,) = placed(found)["llama3.1:8b"]
    assert instance.layers is not None
    assert instance.options["gpu_layers"] == instance.layers
    assert "3 to 10 times slower" in " ".join(answer_columns(found, 1.0)["notes"])


def test_on_demand_models_share_a_swap_space(host: OneHost) -> None:
    host.sample(others_gib=(20, 8))
    found = solved(demand(on_demand=True), demand("phi4:14b", on_demand=True))
    both = placed(found)
    assert all(each.swapped for listed in both.values() for each in listed)
    assert found.way.steps == ()


def test_a_demand_that_names_nothing_is_told_apart_from_one_that_exceeds_everything(host: OneHost) -> None:
    host.install("huge", parameter_count=400 * 10**9, file_size_bytes=250 * 10**9)
    host.sample(ram_gib=16)
    rows = answer_columns(solved(demand("nosuch"), demand("huge"), demand()), 1.0)["unmet"]
    by_name = {row["demand"]: row for row in rows}
    assert set(by_name) == {"nosuch", "huge"}
    assert by_name["nosuch"]["code"] == "names_nothing"
    assert by_name["huge"]["code"] == "exceeds_all"
    assert "GiB" in by_name["huge"]["reason"]


def test_an_unmet_demand_says_why_in_numbers_and_offers_changes_with_what_they_need(host: OneHost) -> None:
    host.sample(others_gib=(21, 12), ram_gib=8)
    rows = answer_columns(solved(demand(priority=1), demand("phi4:14b")), 1.0)["unmet"]
    (row,) = rows
    assert (row["demand"], row["code"], row["served"], row["wanted"]) == ("phi4:14b", "no_room", 0, 1)
    assert f"GPU 1 of {host.host.name}" in row["reason"]
    assert {"drop", "add_gpu"} <= {remedy["change"] for remedy in row["remedies"]}


def test_a_demand_bound_to_what_is_gone_is_explained_and_the_others_are_placed(host: OneHost) -> None:
    gone = demand("phi4:14b", pinned_gpus=["GPU-gone"])
    found = solved(demand(), gone)
    assert "llama3.1:8b" in placed(found)
    (row,) = answer_columns(found, 1.0)["unmet"]
    assert (row["code"], row["reason"]) == ("unknown_place", "It may only run on GPU-gone, which is not there now.")


def test_slots_that_an_endpoint_does_not_have_are_no_way_to_serve(host: OneHost) -> None:
    (row,) = answer_columns(solved(demand(slots=4)), 1.0)["unmet"]
    assert f"llama3.1:8b on {host.endpoint.name} answers 1 at a time; 4 slots are wanted." in row["reason"]


def test_a_context_beyond_the_training_is_no_way_to_serve(host: OneHost) -> None:
    host.install("short", training_context_length=2048)
    (row,) = answer_columns(solved(demand("short")), 1.0)["unmet"]
    assert "was trained for 2,048 tokens; 8,192 are the least wanted. Accept 2,048." in row["reason"]


def test_a_router_serves_only_as_its_presets_say(host: OneHost) -> None:
    Endpoint.objects.filter(pk=host.endpoint.pk).update(kind="llama_server", mode="router", load_options=["pinned"])
    row = host.endpoint.installations.get(name="llama3.1:8b")
    row.launch = {"ctx_size": 4096, "parallel": 1}
    row.save()
    (unmet,) = answer_columns(solved(demand()), 1.0)["unmet"]
    assert "starts with 4,096 tokens of context" in unmet["reason"]
    (instance,) = placed(solved(demand(least_context_length=4096)))["llama3.1:8b"]
    assert (instance.options, instance.context_length, len(instance.gpus)) == ({"pinned": True}, 4096, 2)


def test_a_managed_server_serves_its_one_model_on_its_own_gpus(host: OneHost) -> None:
    spec = ServerSpec(name="llama3.1:8b", model="/models/llama.gguf", gpus=(host.gpus[1].uuid,), context_length=8192)
    Endpoint.objects.filter(pk=host.endpoint.pk).update(
        url="managed://k", kind="llama_server", mode="managed", load_options=["pinned"]
    )
    ManagedServer.objects.create(endpoint=host.endpoint, key="k", spec=spec.as_json())
    host.endpoint.installations.filter(name="llama3.1:8b").update(launch={"ctx_size": 8192, "parallel": 1})
    found = solved(demand())
    (instance,) = placed(found)["llama3.1:8b"]
    assert (instance.gpus, instance.options) == ((host.gpus[1].uuid,), {"pinned": True})
    assert found.posed.fleet.server[host.endpoint.pk].max_models == 1


def test_layers_that_a_preset_leaves_to_the_cpu_count_as_such(host: OneHost) -> None:
    Endpoint.objects.filter(pk=host.endpoint.pk).update(kind="llama_server", mode="router", load_options=["pinned"])
    launch = {"ctx_size": 8192, "parallel": 1, "n_gpu_layers": 8, "split_mode": "none", "main_gpu": 1}
    host.endpoint.installations.filter(name="llama3.1:8b").update(launch=launch)
    (instance,) = placed(solved(demand()))["llama3.1:8b"]
    assert (instance.layers, instance.gpus) == (8, (host.gpus[1].uuid,))
    (row,) = answer_columns(solved(demand(gpu_only=True)), 1.0)["unmet"]
    assert "only GPUs will do" in row["reason"]


def test_a_server_that_decides_alone_meets_the_demand_for_what_it_serves(host: OneHost) -> None:
    host.load("llama3.1:8b")
    Endpoint.objects.filter(pk=host.endpoint.pk).update(mode="single", capabilities=[], load_options=["pinned"])
    host.sample()
    found = solved(demand())
    (instance,) = placed(found)["llama3.1:8b"]
    assert (instance.fixed, instance.gpus) == (True, (host.gpus[0].uuid,))
    assert found.way.steps == ()
    assert found.posed.fleet.pool[host.gpus[0].uuid].others_bytes == 6 * GIB


def test_a_what_if_removes_and_adds_gpus_and_changes_the_headroom(host: OneHost) -> None:
    removed = Changes(removed_gpus=(host.gpus[0].uuid,), headroom_percent=10)
    (instance,) = placed(solved(demand(), changes=removed))["llama3.1:8b"]
    assert instance.gpus == (host.gpus[1].uuid,)
    host.sample(others_gib=(22, 22))
    added = Changes(added_gpus=(AddedGpu(host.host.name, 48 * GIB, "L40S"),))
    (instance,) = placed(solved(demand(), changes=added))["llama3.1:8b"]
    assert instance.gpus == ("imaginary-1",)


def test_replicas_of_one_ollama_are_one_because_it_holds_a_model_once(host: OneHost) -> None:
    second = one_host()
    second.install("llama3.1:8b")
    instances = placed(solved(demand(replicas=3)))["llama3.1:8b"]
    assert {each.endpoint for each in instances} == {host.endpoint.name, second.endpoint.name}


def test_demands_are_kept_apart_and_together(host: OneHost) -> None:
    apart = solved(demand(), demand("phi4:14b", apart_from=["llama3.1:8b"], apart_on="gpu"))
    one, other = (placed(apart)[name][0].gpus for name in ("llama3.1:8b", "phi4:14b"))
    assert not set(one) & set(other)
    together = solved(demand(), demand("phi4:14b", together_with=["llama3.1:8b"], together_on="gpu"))
    one, other = (placed(together)[name][0].gpus for name in ("llama3.1:8b", "phi4:14b"))
    assert one == other


def test_hosts_without_fresh_figures_and_endpoints_that_do_not_answer_are_left_out_and_named(host: OneHost) -> None:
    Endpoint.objects.filter(pk=host.endpoint.pk).update(state=Endpoint.State.UNREACHABLE)
    fleet = take_snapshot()
    assert fleet.servers == ()
    assert fleet.left_out == (f"{host.endpoint.name} is left out: it does not answer.",)
    LatestSample.objects.update(taken_at=timezone.now() - timedelta(hours=1))
    fleet = take_snapshot()
    assert (fleet.pools, fleet.servers) == ((), ())
    assert fleet.left_out == (f"{host.host.name} is left out: its memory is not measured at the moment.",)


def test_a_demand_has_a_few_dozen_options_at_most_and_the_rest_is_told(host: OneHost) -> None:
    names = [f"model{number}" for number in range(12)]
    for name in names:
        host.install(name)
    found = solved(demand(names[0], name="any", variants=names, context_length=65536, least_context_length=2048))
    (posed,) = found.posed.problem.demands
    assert len(posed.options) == 32
    assert any("more ways to load it" in note for note in found.posed.left_out)
