"""A schedule fires when it is due, waits for an apply or is skipped, and always says what became of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from models_app.operations.advance import advance
from models_app.operations.apply import StepRequest, request_apply
from models_app.operations.models import Operation
from models_app.operations.refusals import RequestRefused
from models_app.plans import rhythm
from models_app.plans.applying import active_plan, settle
from models_app.plans.models import Demand, Plan
from models_app.plans.schedules import Schedule
from models_app.plans.scheduling import PLANS_KEPT, delete_schedule, run_due, save_schedule
from models_app.plans.solving import solve_plan
from tests.operations.applies import work
from tests.operations.conftest import EMBEDDING, MIDDLE, SMALL
from tests.plans.conftest import Planner
from tests.plans.test_waking import ask, swapping


def schedule(planner: Planner, **more: Any) -> Schedule:
    given: dict[str, Any] = {"name": "evening", "cron": "0 20 * * *", "time_zone": "Europe/Berlin"} | more
    return save_schedule(planner.stage.admin, **given)


def due(row: Schedule, ago: timedelta = timedelta(seconds=1)) -> Schedule:
    Schedule.objects.filter(pk=row.pk).update(next_at=timezone.now() - ago)
    return after_a_tick(row)


def after_a_tick(row: Schedule) -> Schedule:
    run_due()
    row.refresh_from_db()
    return row


def solve(row: Schedule) -> None:
    row.refresh_from_db()
    assert row.solving
    solve_plan(row.solving.pk)


@pytest.fixture
def plan(planner: Planner) -> Plan:
    planner.demand("chat", MIDDLE)
    return planner.solved()


def test_a_plan_is_solved_anew_and_applied(planner: Planner, plan: Plan) -> None:
    row = due(schedule(planner, plan=plan))
    solve(row)
    planner.look()
    row = after_a_tick(row)
    assert row.outcome.endswith(f"is applied by operation {row.operation_id}.")
    assert row.next_at > timezone.now()
    work(planner.stage, row.operation)
    settle()
    assert planner.stage.server.loaded == [MIDDLE]
    assert active_plan().name == "evening"


def test_it_fires_once(planner: Planner, plan: Plan) -> None:
    row = due(schedule(planner, plan=plan))
    for _ in range(3):
        after_a_tick(row)
    assert Plan.objects.count() == 2


def test_a_demand_is_made_available(planner: Planner) -> None:
    planner.demand("search", EMBEDDING, context_length=2048)
    planner.applied(planner.solved())
    row = schedule(planner, demand=Demand.objects.get(name="search"))
    assert due(row).outcome.endswith("it was loaded already.")
    planner.stage.done("unload", EMBEDDING, confirmed=True)
    planner.look()
    assert due(row).operation.kind == "load"


def test_one_that_fires_during_an_apply_waits_for_its_end(planner: Planner, plan: Plan) -> None:
    row = schedule(planner, plan=plan)
    other = planner.stage
    from_operation = busy(planner)
    row = due(row)
    assert row.outcome.startswith("Waits since ")
    assert f"operation {from_operation.pk}" in row.outcome
    assert row.solving is None
    work(other, from_operation)
    after_a_tick(row)
    row.refresh_from_db()
    assert row.solving is not None


def test_or_is_skipped_and_says_so(planner: Planner, plan: Plan) -> None:
    row = schedule(planner, plan=plan, when_busy="skip")
    operation = busy(planner)
    row = due(row)
    assert row.outcome.startswith("Skipped at ")
    assert f"operation {operation.pk}" in row.outcome
    assert row.waiting_since is None


def busy(planner: Planner) -> Operation:
    step = StepRequest(Operation.Kind.LOAD, planner.stage.endpoint, SMALL)
    operation = request_apply(planner.stage.admin, "by hand", [step])
    advance(operation.pk)
    return operation


@pytest.mark.parametrize(("when_busy", "told"), [("wait", "Waits since "), ("skip", "Skipped at ")])
def test_a_model_that_has_only_just_come_is_waited_for_and_nobody_is_asked_to_confirm(
    planner: Planner, when_busy: str, told: str
) -> None:
    swapping(planner)
    ask(planner, "chat")
    row = due(schedule(planner, demand=Demand.objects.get(name="reason"), when_busy=when_busy))
    assert row.outcome.startswith(told)
    assert f"{MIDDLE} would have to make way and came less than 60 s ago." in row.outcome
    assert "confirm" not in row.outcome
    assert row.waiting_since is None or when_busy == "wait"


def test_one_that_was_missed_is_told_and_not_caught_up_with(planner: Planner, plan: Plan) -> None:
    row = due(schedule(planner, plan=plan), ago=timedelta(hours=3))
    assert row.outcome.startswith("Missed at ")
    assert row.solving is None


def test_one_that_fails_is_told_and_keeps_no_other_from_firing(
    planner: Planner, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = schedule(planner, demand=Demand.objects.get(name="chat"), name="failing")
    other = schedule(planner, plan=plan, name="other")
    Schedule.objects.update(next_at=timezone.now() - timedelta(seconds=1))
    monkeypatch.setattr("models_app.plans.scheduling.wake", lambda *_: {}["a row that is gone"])
    assert "an error of Berth itself" in after_a_tick(failing).outcome
    assert failing.waiting_since is None
    assert after_a_tick(other).solving


def test_a_failure_keeps_nothing_else_from_being_done(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    monkeypatch.setattr(rhythm, "settle", lambda: {}["a row that is gone"])
    monkeypatch.setattr(rhythm, "run_due", lambda: done.append("fired"))
    monkeypatch.setattr(rhythm, "enforce", lambda: done.append("enforced"))
    with pytest.raises(ExceptionGroup, match="plans"):
        rhythm.tick()
    assert done == ["fired", "enforced"]


def test_a_change_keeps_what_happened_since_the_form_was_opened(planner: Planner, plan: Plan) -> None:
    stale = schedule(planner, plan=plan)
    Schedule.objects.update(outcome="It fired.")
    schedule(planner, plan=plan, cron="0 21 * * *", row=stale)
    row = Schedule.objects.get()
    assert (row.cron, row.outcome) == ("0 21 * * *", "It fired.")
    delete_schedule(planner.stage.admin, row)
    with pytest.raises(RequestRefused, match="deleted evening meanwhile"):
        schedule(planner, plan=plan, row=stale)
    assert not Schedule.objects.exists()


def test_what_is_refused_is_told(planner: Planner) -> None:
    planner.demand("search", EMBEDDING, context_length=2048)
    row = due(schedule(planner, demand=Demand.objects.get(name="search")))
    assert "Not done at " in row.outcome
    assert "No plan is applied" in row.outcome


def test_one_that_is_switched_off_does_not_fire(planner: Planner, plan: Plan) -> None:
    row = schedule(planner, plan=plan, enabled=False)
    assert row.next_at is None
    assert after_a_tick(row).outcome == ""


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"cron": "whenever"}, "cron"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"name": " "}, "name"),
        ({"when_busy": "fight"}, "when_busy"),
        ({"plan": None}, "plan"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_field(
    planner: Planner, plan: Plan, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(RequestRefused) as refused:
        schedule(planner, **{"plan": plan} | given)
    assert (refused.value.code, field in refused.value.errors) == ("invalid_schedule", True)
    assert not Schedule.objects.exists()


def test_a_name_is_taken_once(planner: Planner, plan: Plan) -> None:
    row = schedule(planner, plan=plan)
    with pytest.raises(RequestRefused, match="already"):
        schedule(planner, plan=plan)
    assert schedule(planner, plan=plan, row=row, cron="0 21 * * *").cron == "0 21 * * *"
    delete_schedule(planner.stage.admin, row)
    assert schedule(planner, plan=plan)


def test_plans_of_earlier_firings_are_forgotten_but_not_the_active_one_or_a_persons(planner: Planner) -> None:
    planner.demand("chat", MIDDLE)
    row = schedule(planner, demand=Demand.objects.get())
    told: dict[str, Any] = {"requested_by": "schedule evening", "state": Plan.State.STALE}
    active = Plan.objects.create(**told | {"state": Plan.State.APPLIED})
    persons = Plan.objects.create(**told, user=User.objects.get(username="ada"))
    used, old = Plan.objects.create(**told), Plan.objects.create(**told)
    schedule(planner, name="night", plan=used)
    latest = [Plan.objects.create(**told) for _ in range(PLANS_KEPT)]
    due(row)
    kept = {active, persons, used, *latest}
    assert set(Plan.objects.all()) == kept
    assert old not in kept
