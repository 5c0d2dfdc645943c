"""A plan is applied after a question, what drifts is shown, a demand is loaded now, and schedules are kept."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from models_app.accounts.roles import Actor, Via
from models_app.operations.models import Operation
from models_app.plans.corrections import EnforcementStop
from models_app.plans.models import Demand, Plan
from models_app.plans.requests import request_plan, save_demand
from models_app.plans.schedules import Schedule
from models_app.plans.solving import solve_plan
from models_app.plans.waking import JustLoaded
from tests.plans.fleets import OneHost, one_host

ADA = Actor(None, "ada", Via.WEB)
EVENING = {"name": "evening", "cron": "0 20 * * 1-5", "time_zone": "Europe/Berlin", "when_busy": "wait", "enabled": "on"}


def text(client: Any, name: str, *args: int) -> str:
    answer = client.get(reverse(name, args=args))
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.fixture
def host(db: None) -> OneHost:
    made = one_host()
    made.install("llama3.1:8b")
    return made


@pytest.fixture
def plan(host: OneHost) -> Plan:
    save_demand(ADA, {"name": "chat", "model": "llama3.1:8b", "on_demand": False})
    plan = request_plan(ADA, name="evening")
    solve_plan(plan.pk)
    return Plan.objects.get(pk=plan.pk)


def test_a_plan_is_applied_after_a_question_that_says_what_it_costs(as_admin, plan: Plan) -> None:
    assert reverse("plan_apply", args=[plan.pk]) in text(as_admin, "plan", plan.pk)
    asked = text(as_admin, "plan_apply", plan.pk)
    assert "Nothing: whatever answers now goes on answering." in asked
    assert "llama3.1:8b on " in asked
    answer = as_admin.post(reverse("plan_apply", args=[plan.pk]), {"confirmed": "1", "enforce": "on"})
    operation = Operation.objects.get(kind="apply")
    assert answer.url == reverse("operation", args=[operation.pk])
    assert Plan.objects.get(pk=plan.pk).enforce
    assert "It is being applied" in text(as_admin, "plan", plan.pk)


def test_what_is_unloaded_is_listed(as_admin, host: OneHost, plan: Plan) -> None:
    host.install("phi4:14b")
    host.load("phi4:14b", gib=20)
    host.sample()
    second = request_plan(ADA, name="second")
    solve_plan(second.pk)
    host.sample()
    assert "phi4:14b (another client&#x27;s) leaves" in text(as_admin, "plan_apply", second.pk)


def test_a_plan_that_places_nothing_is_not_offered_to_be_applied(as_admin, host: OneHost) -> None:
    host.install("deepseek-r1:671b", parameter_count=671_000_000_000, file_size_bytes=400 * 1024**3)
    save_demand(ADA, {"name": "chat", "model": "deepseek-r1:671b", "on_demand": False})
    nothing = request_plan(ADA)
    solve_plan(nothing.pk)
    shown = text(as_admin, "plan", nothing.pk)
    assert "There is nothing to apply." in shown
    assert reverse("plan_apply", args=[nothing.pk]) not in shown
    answer = as_admin.post(reverse("plan_apply", args=[nothing.pk]), {"confirmed": "1"})
    assert (answer.status_code, Plan.objects.get(pk=nothing.pk).state) == (409, "draft")


def test_a_plan_that_moves_nothing_is_offered_as_the_active_one(as_admin, host: OneHost, plan: Plan) -> None:
    Plan.objects.update(steps=[])
    assert "Make it the active plan…" in text(as_admin, "plan", plan.pk)
    asked = text(as_admin, "plan_apply", plan.pk)
    assert "Everything is as it has it already." in asked
    assert "What is loaded" not in asked


def test_a_refusal_keeps_what_was_ticked_and_says_why(as_admin, plan: Plan, host: OneHost) -> None:
    host.sample(others_gib=(12,))
    answer = as_admin.post(reverse("plan_apply", args=[plan.pk]), {"confirmed": "1", "enforce": "on"})
    assert answer.status_code == 409
    assert "Other programs use" in answer.content.decode()
    assert "checked" in answer.content.decode()


def test_a_gpu_that_goes_between_the_question_and_the_answer_leads_to_a_new_plan(
    as_admin, plan: Plan, host: OneHost
) -> None:
    assert "Solve again" not in text(as_admin, "plan_apply", plan.pk)
    host.gpus.clear()
    host.sample()
    refused = as_admin.post(reverse("plan_apply", args=[plan.pk]), {"confirmed": "1"})
    page = refused.content.decode()
    assert refused.status_code == 409
    assert "is gone." in page
    assert f'formaction="{reverse("plan_make")}"' in page
    assert 'name="confirmed"' not in page
    assert not Operation.objects.exists()


def test_members_see_the_drift_and_get_no_button(as_member, plan: Plan) -> None:
    Plan.objects.filter(pk=plan.pk).update(state="applied", applied_at=timezone.now())
    page = text(as_member, "plan", plan.pk)
    assert "1 difference from the plan" in page
    assert "is not loaded on" in page
    assert reverse("plan_enforcement", args=[plan.pk]) not in page
    for name in ("plan_apply", "plan_enforcement"):
        assert as_member.post(reverse(name, args=[plan.pk])).status_code == 403


def test_enforcing_is_switched_on_the_plans_page(as_admin, plan: Plan, host: OneHost) -> None:
    Plan.objects.filter(pk=plan.pk).update(state="applied", applied_at=timezone.now())
    as_admin.post(reverse("plan_enforcement", args=[plan.pk]), {"enforce": "on"})
    EnforcementStop.objects.create(plan=plan, endpoint=host.endpoint, model_name="m", reason="It was put right 3 times.")
    page = text(as_admin, "plan", plan.pk)
    assert "It was put right 3 times." in page
    assert "Enforce again" in page
    as_admin.post(reverse("plan_enforcement", args=[plan.pk]), {"enforce": "off"})
    assert not Plan.objects.get(pk=plan.pk).enforce


def test_a_demand_is_loaded_now(as_admin, plan: Plan) -> None:
    demand = Demand.objects.get()
    address = reverse("plan_demand_wake", args=[demand.pk])
    answer = as_admin.post(address, follow=True)
    assert "No plan is applied" in answer.content.decode()
    Plan.objects.filter(pk=plan.pk).update(state="applied", applied_at=timezone.now())
    answer = as_admin.post(address)
    assert answer.url == reverse("operation", args=[Operation.objects.get().pk])


def test_a_demand_that_would_drive_out_a_newcomer_is_loaded_after_a_question(
    as_admin, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise JustLoaded(["phi4:14b"])

    monkeypatch.setattr("models_app.web.views.applied_plans.wake", refuse)
    answer = as_admin.post(reverse("plan_demand_wake", args=[Demand.objects.get().pk]))
    assert answer.status_code == 409
    assert "phi4:14b would have to make way and came less than 60 s ago." in answer.content.decode()
    assert "confirm to do it" not in answer.content.decode()


def test_nothing_scheduled_teaches_what_schedules_are_for(as_admin, db: None) -> None:
    assert "Nothing is scheduled" in text(as_admin, "schedules")


def test_a_schedule_is_added_changed_and_deleted(as_admin, plan: Plan) -> None:
    as_admin.post(reverse("schedule_new"), EVENING | {"what": f"plan-{plan.pk}"})
    row = Schedule.objects.get()
    assert row.plan == plan
    page = text(as_admin, "schedules")
    assert "has not fired yet" in page
    assert "20:00<small> Europe/Berlin</small>" in page
    demand = Demand.objects.get()
    as_admin.post(reverse("schedule", args=[row.pk]), EVENING | {"what": f"demand-{demand.pk}"})
    row.refresh_from_db()
    assert (row.plan, row.demand) == (None, demand)
    assert "It does not fire again." in text(as_admin, "schedule_delete", row.pk)
    as_admin.post(reverse("schedule_delete", args=[row.pk]))
    assert not Schedule.objects.exists()


def test_a_schedule_keeps_its_plan_however_many_are_newer(as_admin, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    as_admin.post(reverse("schedule_new"), EVENING | {"what": f"plan-{plan.pk}"})
    Plan.objects.create(name="newer", state="draft")
    monkeypatch.setattr("models_app.web.schedule_form.MOST_PLANS", 1)
    row = Schedule.objects.get()
    assert f'<option value="plan-{plan.pk}" selected>' in text(as_admin, "schedule", row.pk)
    assert as_admin.post(reverse("schedule", args=[row.pk]), EVENING | {"what": f"plan-{plan.pk}"}).status_code == 302
    row.refresh_from_db()
    assert row.plan == plan


def test_a_schedule_that_is_refused_keeps_what_was_typed(as_admin, plan: Plan) -> None:
    answer = as_admin.post(reverse("schedule_new"), EVENING | {"what": f"plan-{plan.pk}", "cron": "at eight"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Five fields are needed" in page
    assert 'value="at eight"' in page


def test_an_apply_shows_its_steps_and_is_rolled_back_after_a_question(as_admin, plan: Plan) -> None:
    as_admin.post(reverse("plan_apply", args=[plan.pk]), {"confirmed": "1"})
    operation = Operation.objects.get(kind="apply")
    page = text(as_admin, "operation", operation.pk)
    assert "0 of 1 done" in page
    assert "Load <span" in page
    assert "evening" in text(as_admin, "operations")
    assert "Roll back evening?" in text(as_admin, "operation_roll_back", operation.pk)
    refused = as_admin.post(reverse("operation_roll_back", args=[operation.pk]), {"confirmed": "1"})
    assert refused.status_code == 409
    as_admin.post(reverse("operation_cancel", args=[operation.pk]))
    assert "Resume" in text(as_admin, "operation", operation.pk)
    answer = as_admin.post(reverse("operation_resume", args=[operation.pk]), {"confirmed": "1"})
    follower = Operation.objects.latest("pk")
    assert answer.url == reverse("operation", args=[follower.pk])
    assert "has taken over" in text(as_admin, "operation", operation.pk)
    assert "Takes over from" in text(as_admin, "operation", follower.pk)
