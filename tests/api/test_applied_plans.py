"""Plans made real, held and woken by the API; schedules; and how long loads took."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from models_app.accounts.roles import Actor, Via
from models_app.catalog.models import CatalogModel
from models_app.operations.apply import StepRequest, request_apply
from models_app.operations.models import Operation, OperationStep
from models_app.plans.corrections import Correction, EnforcementStop
from models_app.plans.models import Demand, Plan
from models_app.plans.solving import solve_plan
from tests.api.conftest import Script
from tests.factories import OperationFactory
from tests.plans.fleets import OneHost, one_host

CHAT = {"name": "chat", "model": "llama3.1:8b"}
EVENING = {"name": "evening", "cron": "0 20 * * 1-5", "time_zone": "Europe/Berlin"}


@pytest.fixture
def host(db: None) -> OneHost:
    made = one_host()
    made.install("llama3.1:8b")
    return made


@pytest.fixture
def plan(host: OneHost, writer: Script) -> Plan:
    writer.post("demands", CHAT)
    plan_id = writer.post("plans", {"name": "evening"}).json()["id"]
    solve_plan(plan_id)
    return Plan.objects.get(pk=plan_id)


def test_applying_answers_with_the_operation_and_its_steps(plan: Plan, writer: Script) -> None:
    answer = writer.post(f"plans/{plan.pk}/apply", {"enforce": True}, **{"Idempotency-Key": "once"})
    assert (answer.status_code, answer.json()["enforce"]) == (202, True)
    operation = writer.get(answer["Location"].removeprefix("/api/v1/")).json()
    assert (operation["kind"], operation["endpoint"], operation["model"]) == ("apply", None, "evening")
    (step,) = operation["apply_steps"]
    assert (step["kind"], step["model"], step["state"], step["after"]) == ("load", "llama3.1:8b", "pending", [])
    assert step["options"]["keep_alive"] == -1
    again = writer.post(f"plans/{plan.pk}/apply", {})
    assert (again.status_code, again.json()["code"], again.json()["operation"]) == (409, "apply_running", operation["id"])


def test_outages_are_confirmed_first(host: OneHost, writer: Script) -> None:
    host.install("llama3.1:70b", file_size_bytes=14_000_000_000, parameter_count=30_000_000_000)
    host.load("llama3.1:70b", gib=16)
    host.sample()
    writer.post("demands", CHAT | {"context_length": 65536})
    plan_id = writer.post("plans", {}).json()["id"]
    solve_plan(plan_id)
    host.sample()
    answer = writer.post(f"plans/{plan_id}/apply", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "confirm_apply")
    assert "leaves" in answer.json()["detail"]
    assert writer.post(f"plans/{plan_id}/apply", {"confirmed": True}).status_code == 202


def test_a_stale_plan_is_refused_with_the_difference(plan: Plan, host: OneHost, writer: Script) -> None:
    host.sample(others_gib=(12,))
    answer = writer.post(f"plans/{plan.pk}/apply", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "plan_stale")
    assert "Other programs use" in answer.json()["detail"]


def test_what_is_so_already_is_adopted_at_once_and_drift_is_told(plan: Plan, host: OneHost, writer: Script) -> None:
    Plan.objects.filter(pk=plan.pk).update(steps=[])
    answer = writer.post(f"plans/{plan.pk}/apply", {})
    assert (answer.status_code, answer.json()["state"], answer.json()["operation"]) == (200, "applied", None)
    drift = writer.get(f"plans/{plan.pk}/drift").json()
    assert drift["is_active"]
    assert [found["kind"] for found in drift["differences"]] == ["missing"]
    assert "is not loaded" in drift["differences"][0]["sentence"]


def test_enforcement_is_switched_and_shown(plan: Plan, host: OneHost, writer: Script) -> None:
    row = {"plan": plan, "endpoint": host.endpoint, "model_name": "llama3.1:8b", "reason": "It left."}
    Correction.objects.create(**row)
    EnforcementStop.objects.create(**row)
    shown = writer.get(f"plans/{plan.pk}/drift").json()
    assert (len(shown["corrections"]), shown["stops"][0]["reason"]) == (1, "It left.")
    changed = writer.post(f"plans/{plan.pk}/enforcement", {"enforce": True}).json()
    assert (changed["enforce"], changed["stops"]) == (True, [])


def test_a_demand_is_woken_by_the_active_plan(plan: Plan, host: OneHost, writer: Script) -> None:
    demand = Demand.objects.get()
    answer = writer.post(f"demands/{demand.pk}/wake", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "no_active_plan")
    Plan.objects.filter(pk=plan.pk).update(state="applied", applied_at=timezone.now())
    answer = writer.post(f"demands/{demand.pk}/wake", {})
    assert (answer.status_code, answer.json()["evicted"]) == (202, [])
    assert Operation.objects.get(pk=answer.json()["operation"]).kind == "load"
    host.load("llama3.1:8b")
    assert writer.post(f"demands/{demand.pk}/wake", {}).status_code == 200


def test_members_see_and_do_not_act(plan: Plan, reader: Script) -> None:
    assert reader.get(f"plans/{plan.pk}/drift").status_code == 200
    assert reader.get("schedules").status_code == 200
    assert reader.get("load-times").status_code == 200
    demand = Demand.objects.get()
    for path in (f"plans/{plan.pk}/apply", f"plans/{plan.pk}/enforcement", f"demands/{demand.pk}/wake", "schedules"):
        assert reader.post(path, {}).status_code == 403, path


def test_a_schedule_is_added_changed_read_and_deleted(plan: Plan, writer: Script) -> None:
    added = writer.post("schedules", EVENING | {"plan": plan.pk})
    assert added.status_code == 201, added.content
    address = added["Location"].removeprefix("/api/v1/")
    assert added.json()["next_at"]
    assert "20:00" in added.json()["in_words"]
    changed = writer.send("put", address, EVENING | {"plan": plan.pk, "when_busy": "skip"})
    assert changed.json()["when_busy"] == "skip"
    assert writer.get("schedules", is_enabled="true").json()["total"] == 1
    assert writer.send("delete", address).status_code == 204
    assert writer.get(address).status_code == 404


def test_a_list_of_schedules_reads_no_plan(writer: Script, plan: Plan) -> None:
    for number in range(3):
        writer.post("schedules", EVENING | {"plan": plan.pk, "name": f"evening {number}"})
    with CaptureQueriesContext(connection) as asked:
        assert len(writer.get("schedules").json()["items"]) == 3
    assert not [query["sql"] for query in asked if "fingerprint" in query["sql"]]


@pytest.mark.parametrize(
    ("changed", "code", "field"),
    [
        ({"cron": "whenever"}, "invalid_schedule", "cron"),
        ({"time_zone": "Mars"}, "invalid_schedule", "time_zone"),
        ({"plan": 4711}, "unknown_plan", "plan"),
        ({"plan": None}, "invalid_schedule", "plan"),
        ({"when_busy": "fight"}, "invalid_request", "when_busy"),
    ],
)
def test_a_schedule_that_cannot_be_is_a_problem_at_its_field(
    plan: Plan, writer: Script, changed: dict[str, Any], code: str, field: str
) -> None:
    answer = writer.post("schedules", EVENING | {"plan": plan.pk} | changed)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert field in str(answer.json())


def test_an_apply_is_resumed_and_rolled_back_by_the_api(host: OneHost, writer: Script) -> None:
    step = StepRequest(Operation.Kind.LOAD, host.endpoint, "llama3.1:8b")
    operation = request_apply(Actor(None, "ada", Via.API), "evening", [step])
    answer = writer.post(f"operations/{operation.pk}/resume")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ended")
    writer.post(f"operations/{operation.pk}/cancel")
    assert writer.post(f"operations/{operation.pk}/roll-back").json()["code"] == "nothing_to_roll_back"
    resumed = writer.post(f"operations/{operation.pk}/resume")
    assert (resumed.status_code, resumed.json()["follows_id"]) == (202, operation.pk)


def test_an_apply_is_not_asked_for_like_a_load(host: OneHost, writer: Script) -> None:
    body = {"kind": "apply", "endpoint": host.endpoint.name, "model": "llama3.1:8b"}
    assert writer.post("operations", body).json()["code"] == "invalid_kind"


def test_load_times_tell_cold_from_warm(host: OneHost, reader: Script, as_member: Client) -> None:
    now = timezone.now()
    for hours_ago, seconds in ((9, 20), (5, 30), (4.5, 3), (4.2, 2)):
        began = now - timedelta(hours=hours_ago)
        OperationStep.objects.create(
            operation=OperationFactory(endpoint=host.endpoint),
            position=0,
            action="load",
            model_name="llama3.1:8b",
            state="done",
            started_at=began,
            finished_at=began + timedelta(seconds=seconds),
            verified_by="process",
        )
    (found,) = reader.get("load-times").json()
    assert (found["cold_seconds"], found["cold_loads"], found["warm_seconds"], found["warm_loads"]) == (25.0, 2, 2.5, 2)
    model = CatalogModel.objects.get(variants=found["variant_id"])
    assert "25 s" in as_member.get(f"/models/{model.pk}/").content.decode()
