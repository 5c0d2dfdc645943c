"""An on-demand model is made available when it is asked for; what makes way is the least recently used."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from models_app.inventory.models import LoadedModel, Residency
from models_app.operations.models import Operation
from models_app.operations.refusals import RequestRefused
from models_app.plans.applying import apply_plan
from models_app.plans.models import Demand, Plan
from models_app.plans.records import instances
from models_app.plans.wakes import Wake
from models_app.plans.waking import Woken, wake
from tests.operations.conftest import EMBEDDING, LARGE, MIDDLE, SMALL
from tests.plans.conftest import Planner


def swapping(planner: Planner) -> Plan:
    """Three models on demand that do not fit side by side."""
    planner.demand("reason", LARGE, on_demand=True)
    planner.demand("chat", MIDDLE, on_demand=True, context_length=8192)
    planner.demand("small", SMALL, on_demand=True)
    plan = planner.applied(planner.solved())
    assert {each.demand for each in instances(plan.instances) if each.swapped} >= {"reason", "chat"}
    return plan


def ask(planner: Planner, name: str, **more: bool) -> Woken:
    woken = wake(planner.stage.admin, Demand.objects.get(name=name), **more)
    planner.work_off()
    return woken


def settle_in() -> None:
    """Everything that is loaded has been for a while."""
    LoadedModel.objects.update(first_seen_at=timezone.now() - timedelta(hours=1))


def test_a_model_that_is_asked_for_is_loaded(planner: Planner) -> None:
    swapping(planner)
    woken = ask(planner, "chat")
    assert woken.operation is not None
    assert MIDDLE in planner.stage.server.loaded


def test_one_that_is_loaded_is_only_used(planner: Planner) -> None:
    swapping(planner)
    ask(planner, "chat")
    assert ask(planner, "chat").operation is None
    assert Wake.objects.count() == 2


def test_what_is_in_the_way_leaves_in_the_same_operation(planner: Planner) -> None:
    swapping(planner)
    ask(planner, "chat")
    settle_in()
    woken = ask(planner, "reason")
    assert MIDDLE in woken.evicted
    assert Operation.objects.get(pk=woken.operation.pk).kind == "swap"
    assert LARGE in planner.stage.server.loaded
    assert MIDDLE not in planner.stage.server.loaded


def test_a_model_that_has_only_just_come_makes_way_only_when_confirmed(planner: Planner) -> None:
    swapping(planner)
    ask(planner, "chat")
    with pytest.raises(RequestRefused) as refused:
        ask(planner, "reason")
    assert refused.value.code == "just_loaded"
    assert MIDDLE in refused.value.message
    assert ask(planner, "reason", confirmed=True).evicted == (MIDDLE,)


def test_a_pinned_model_never_makes_way_and_the_refusal_says_so_in_numbers(planner: Planner) -> None:
    swapping(planner)
    ask(planner, "chat")
    settle_in()
    Residency.objects.update(pinned=True)
    with pytest.raises(RequestRefused) as refused:
        ask(planner, "reason")
    assert refused.value.code == "no_room"
    assert "GiB" in refused.value.message
    assert f"are held by {MIDDLE} (pinned)." in refused.value.message


def test_nothing_is_evicted_where_that_is_not_wanted(planner: Planner) -> None:
    swapping(planner)
    ask(planner, "chat")
    settle_in()
    with pytest.raises(RequestRefused, match="makes way"):
        ask(planner, "reason", may_evict=False)


def test_an_always_on_model_that_has_drifted_is_loaded_again(planner: Planner) -> None:
    planner.demand("search", EMBEDDING, context_length=2048)
    planner.applied(planner.solved())
    planner.stage.done("unload", EMBEDDING, confirmed=True)
    planner.look()
    ask(planner, "search")
    assert planner.stage.server.loaded == [EMBEDDING]


def test_without_a_place_in_the_active_plan_it_is_refused(planner: Planner) -> None:
    planner.demand("search", EMBEDDING, context_length=2048)
    with pytest.raises(RequestRefused) as refused:
        ask(planner, "search")
    assert refused.value.code == "no_active_plan"
    planner.applied(planner.solved())
    planner.demand("chat", MIDDLE)
    with pytest.raises(RequestRefused) as refused:
        ask(planner, "chat")
    assert refused.value.code == "not_planned"


def test_a_place_on_a_server_that_was_removed_is_none(planner: Planner) -> None:
    swapping(planner)
    planner.stage.endpoint.delete()
    with pytest.raises(RequestRefused, match="no place for chat that is still there") as refused:
        ask(planner, "chat")
    assert refused.value.code == "not_planned"


def test_a_plan_counts_as_soon_as_its_apply_has_succeeded(planner: Planner) -> None:
    planner.demand("search", EMBEDDING, context_length=2048, on_demand=True)
    planner.look()
    plan = apply_plan(planner.stage.admin, planner.solved(), confirmed=True)
    assert plan.operation is not None
    planner.finished(plan.operation)
    assert ask(planner, "search").instance.model == EMBEDDING
