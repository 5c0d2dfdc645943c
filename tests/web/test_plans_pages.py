"""The pages of demands and plans: what they teach, what they show, what they keep when something is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from models_app.plans.models import Demand, Plan
from models_app.plans.requests import save_demand
from models_app.plans.scheduling import save_schedule
from models_app.plans.solving import solve_plan
from tests.plans.fleets import OneHost, one_host
from tests.plans.test_asking_for_plans import ADA

CHAT = {"name": "chat", "model": "llama3.1:8b"}
FORM = CHAT | {
    "context_length": "8192",
    "slots": "1",
    "replicas": "1",
    "priority": "3",
    "together_on": "host",
    "apart_on": "host",
}


@pytest.fixture
def host(db: None) -> OneHost:
    made = one_host(gpus=2)
    made.install("llama3.1:8b")
    made.install("phi4:14b")
    return made


@pytest.fixture
def plan(host: OneHost, as_admin: Client) -> Plan:
    save_demand(ADA, CHAT)
    return made(as_admin.post(reverse("plan_make")))


def made(response: Any) -> Plan:
    """The plan that a post leads to, solved."""
    assert response.status_code == 302
    plan = Plan.objects.latest("pk")
    assert response["Location"] == reverse("plan", args=[plan.pk])
    solve_plan(plan.pk)
    plan.refresh_from_db()
    return plan


def text_of(response: Any) -> str:
    return str(response.content.decode())


def test_without_demands_the_page_teaches_what_one_is(as_admin: Client, as_member: Client) -> None:
    assert "What should be served?" in text_of(as_admin.get(reverse("plans")))
    page = text_of(as_member.get(reverse("plans")))
    assert "An admin can add demands." in page
    assert reverse("plan_demand_new") not in page


def test_a_demand_is_added_and_changed_by_its_form(host: OneHost, as_admin: Client) -> None:
    more = {"variants": "llama3.1:8b\nphi4:14b", "tags": "a, b", "hosts": [host.host.name], "on_demand": "on"}
    assert as_admin.post(reverse("plan_demand_new"), FORM | more).status_code == 302
    row = Demand.objects.get()
    assert (row.variants, row.tags, row.hosts, row.on_demand) == (
        ["llama3.1:8b", "phi4:14b"],
        ["a", "b"],
        [host.host.name],
        True,
    )
    page = text_of(as_admin.get(reverse("plan_demand", args=[row.pk])))
    assert "llama3.1:8b\nphi4:14b" in page
    assert as_admin.post(reverse("plan_demand", args=[row.pk]), FORM | {"priority": "1"}).status_code == 302
    row.refresh_from_db()
    assert (row.priority, row.on_demand) == (1, False)


def test_what_is_refused_stays_typed_with_the_reason_at_its_field(host: OneHost, as_admin: Client) -> None:
    refused = as_admin.post(reverse("plan_demand_new"), FORM | {"model": "nosuch", "tags": "kept, words"})
    page = text_of(refused)
    assert refused.status_code == 422
    assert "The catalog knows no model nosuch" in page
    assert "kept, words" in page
    senseless = as_admin.post(reverse("plan_demand_new"), FORM | {"least_context_length": "9000"})
    assert "more than the one wanted" in text_of(senseless)


def test_a_demand_is_deleted_only_when_confirmed(plan: Plan, as_admin: Client) -> None:
    address = reverse("plan_demand_delete", args=[Demand.objects.get().pk])
    assert "Delete the demand chat?" in text_of(as_admin.get(address))
    assert Demand.objects.exists()
    assert as_admin.post(address).status_code == 302
    assert not Demand.objects.exists()


def test_yaml_is_exported_and_imported_and_a_refused_one_stays_typed(plan: Plan, as_admin: Client) -> None:
    text = text_of(as_admin.get(reverse("plan_demand_export")))
    assert text == "demands:\n  - name: chat\n    model: llama3.1:8b\n"
    changed = text + "    priority: 1\n"
    assert as_admin.post(reverse("plan_demand_import"), {"yaml": changed}).status_code == 302
    assert Demand.objects.get().priority == 1
    refused = as_admin.post(reverse("plan_demand_import"), {"yaml": "demands: [&a x]"})
    assert refused.status_code == 422
    assert "anchors and aliases are not accepted" in text_of(refused)
    assert "demands: [&amp;a x]" in text_of(refused)


def test_a_second_click_opens_what_the_first_had_made(host: OneHost, as_admin: Client) -> None:
    save_demand(ADA, CHAT)
    while_solving = [as_admin.post(reverse("plan_make"))["Location"] for _ in range(2)]
    solve_plan(Plan.objects.get().pk)
    solved = as_admin.post(reverse("plan_make"))["Location"]
    assert {*while_solving, solved} == {reverse("plan", args=[Plan.objects.get().pk])}


def test_solving_a_plan_again_from_its_own_page_always_makes_another(plan: Plan, as_admin: Client) -> None:
    as_admin.post(reverse("plan_make"), {"again": str(plan.pk)})
    assert Plan.objects.count() == 2


@pytest.mark.parametrize("changed", ["fleet", "demands", "time", "asker"])
def test_but_not_once_anything_has_changed(host: OneHost, plan: Plan, as_admin: Client, changed: str) -> None:
    if changed == "fleet":
        host.load("llama3.1:8b")
        host.sample()
    elif changed == "demands":
        save_demand(ADA, CHAT | {"priority": 1}, Demand.objects.get())
    elif changed == "time":
        Plan.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    else:
        Plan.objects.update(requested_by="somebody else")
    as_admin.post(reverse("plan_make"))
    assert Plan.objects.count() == 2


def test_a_plan_shows_today_and_the_plan_the_goals_and_the_moves(plan: Plan, as_member: Client) -> None:
    page = text_of(as_member.get(reverse("plan", args=[plan.pk])))
    assert 'aria-label="Today: ' in page
    assert 'aria-label="Plan: ' in page
    assert "Optimal" in page
    assert "Load llama3.1:8b" in page
    assert "Every demand is met." in page
    assert "Solve this" not in page  # a member sees, and asks for nothing


def test_a_plan_that_is_being_solved_says_so_and_refreshes_without_javascript(host: OneHost, as_admin: Client) -> None:
    save_demand(ADA, CHAT)
    as_admin.post(reverse("plan_make"))
    page = text_of(as_admin.get(reverse("plan", args=[Plan.objects.get().pk])))
    assert "Being solved" in page
    assert '<meta http-equiv="refresh"' in page


def test_a_stale_plan_says_what_has_changed_there_and_in_the_list(host: OneHost, plan: Plan, as_admin: Client) -> None:
    host.load("phi4:14b")
    host.sample()
    page = text_of(as_admin.get(reverse("plan", args=[plan.pk])))
    assert f"phi4:14b is now loaded on {host.endpoint.name}." in page
    assert '<span class="tag warn">stale</span>' in text_of(as_admin.get(reverse("plans")))


def test_demands_that_have_changed_since_are_named(plan: Plan, as_admin: Client) -> None:
    save_demand(ADA, {"name": "code", "model": "phi4:14b"})
    assert "The demand code is new." in text_of(as_admin.get(reverse("plan", args=[plan.pk])))


def test_an_unmet_demand_offers_its_changes_as_buttons_that_solve_them(host: OneHost, as_admin: Client) -> None:
    host.sample(others_gib=(20, 12))
    save_demand(ADA, CHAT | {"context_length": 4096, "gpu_only": True, "priority": 1})
    save_demand(ADA, {"name": "code", "model": "phi4:14b", "gpu_only": True})
    plan = made(as_admin.post(reverse("plan_make")))
    response = as_admin.get(reverse("plan", args=[plan.pk]))
    (line,) = response.context["view"].unmet
    offer = next(each for each in line.offers if each.remedy.change == "add_gpu")
    assert offer.remedy.description in text_of(response)
    supposed = made(as_admin.post(reverse("plan_what_if", args=[plan.pk]), dict(offer.fields)))
    assert supposed.unmet == []
    assert supposed.is_what_if
    assert "imaginary" in text_of(as_admin.get(reverse("plan", args=[supposed.pk])))


def test_a_model_that_another_host_has_room_for_is_offered_to_pull_there(host: OneHost, as_admin: Client) -> None:
    host.sample(others_gib=(22, 22), ram_gib=4)
    roomy = one_host()
    save_demand(ADA, CHAT)
    plan = made(as_admin.post(reverse("plan_make")))
    page = text_of(as_admin.get(reverse("plan", args=[plan.pk])))
    assert f"{reverse('model_pull')}?endpoint={roomy.endpoint.pk}&amp;model=llama3.1%3A8b" in page
    assert f"Pull llama3.1:8b to {roomy.endpoint.name}" in page


def test_a_what_if_leaves_out_demands_and_gpus_and_the_plan_stays_as_it_is(
    host: OneHost, plan: Plan, as_admin: Client
) -> None:
    text = "demands: [{name: chat, model: 'llama3.1:8b'}, {name: code, model: 'phi4:14b', apart_from: [chat]}]"
    form = {"yaml": text, "known": ["chat", "code"], "keep": ["code"], "remove": [host.gpus[0].uuid], "headroom": "5"}
    supposed = made(as_admin.post(reverse("plan_what_if", args=[plan.pk]), form))
    assert [demand["name"] for demand in supposed.demands] == ["code"]
    assert supposed.changes == {"removed_gpus": [host.gpus[0].uuid], "headroom_percent": 5.0}
    assert [row["gpus"] for row in supposed.instances] == [[host.gpus[1].uuid]]
    assert len(Plan.objects.get(pk=plan.pk).demands) == 1


@pytest.mark.parametrize(
    "typed",
    [
        {"yaml": "demands: ["},
        {"yaml": "demands: []"},
        {"yaml": "demands: [{name: a, model: m}]", "headroom": "much"},
        {"yaml": "demands: [{name: a, model: m}]", "headroom": "99"},
        {"yaml": "demands: [{name: a, model: m}]", "add_gb": "-3"},
    ],
)
def test_a_what_if_that_is_refused_stays_typed(plan: Plan, as_admin: Client, typed: dict[str, str]) -> None:
    refused = as_admin.post(reverse("plan_what_if", args=[plan.pk]), typed)
    assert refused.status_code == 422
    assert refused.context["what_if"].yaml == typed["yaml"]
    assert refused.context["what_if"].refusal
    assert Plan.objects.count() == 1


@pytest.mark.parametrize(
    "fields", [{"changes": "{", "demands": "[]"}, {"changes": "{}", "demands": "[" * 5000}, {"changes": "[]"}]
)
def test_a_what_if_in_pieces_is_refused(plan: Plan, as_admin: Client, fields: dict[str, str]) -> None:
    assert as_admin.post(reverse("plan_what_if", args=[plan.pk]), fields).status_code == 422


def test_two_plans_stand_side_by_side(plan: Plan, as_admin: Client) -> None:
    alone = as_admin.get(reverse("plan_compare", args=[plan.pk]), follow=True)
    assert "There is no other plan to compare it with." in text_of(alone)
    other = made(as_admin.post(reverse("plan_make"), {"name": "second"}))
    page = text_of(as_admin.get(reverse("plan_compare", args=[plan.pk]), {"with": other.pk}))
    assert "second" in page
    assert page.count('aria-label="Plan: ') == 4
    assert as_admin.get(reverse("plan_compare", args=[plan.pk]), {"with": "nonsense"}).status_code == 200


def test_a_plan_is_deleted_when_confirmed_and_exported_as_it_was(plan: Plan, as_admin: Client) -> None:
    assert text_of(as_admin.get(reverse("plan_export", args=[plan.pk]))).startswith("demands:\n  - name: chat\n")
    address = reverse("plan_delete", args=[plan.pk])
    assert "Delete Plan" in text_of(as_admin.get(address))
    assert as_admin.post(address).status_code == 302
    assert not Plan.objects.exists()


def test_a_plan_and_a_demand_say_which_schedules_go_with_them(plan: Plan, as_admin: Client) -> None:
    demand = Demand.objects.get()
    for number, what in enumerate(({"plan": plan}, {"demand": demand}, {"demand": demand})):
        save_schedule(ADA, name=f"evening {number}", cron="0 20 * * *", time_zone="UTC", **what)
    assert "Lost: 1 schedule of it." in text_of(as_admin.get(reverse("plan_delete", args=[plan.pk])))
    page = text_of(as_admin.get(reverse("plan_demand_delete", args=[demand.pk])))
    assert "Lost: 2 schedules of it." in page


def test_a_plan_for_nothing_is_refused_with_a_sentence(host: OneHost, as_admin: Client) -> None:
    page = as_admin.post(reverse("plan_make"), follow=True)
    assert "There is nothing to place" in text_of(page)
