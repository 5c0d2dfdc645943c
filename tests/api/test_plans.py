"""Demands and plans by the API."""

from __future__ import annotations

from typing import Any

import pytest

from models_app.plans.models import Demand, Plan
from models_app.plans.solving import solve_plan
from tests.api.conftest import Script
from tests.plans.fleets import OneHost, one_host

CHAT = {"name": "chat", "model": "llama3.1:8b"}


@pytest.fixture
def host(db: None) -> OneHost:
    made = one_host()
    made.install("llama3.1:8b")
    return made


def test_a_demand_is_added_changed_read_and_deleted(host: OneHost, writer: Script) -> None:
    added = writer.post("demands", CHAT)
    assert added.status_code == 201
    address = added["Location"].removeprefix("/api/v1/")
    assert writer.get(address).json()["context_length"] == 8192
    changed = writer.send("put", address, CHAT | {"priority": 1})
    assert changed.json()["priority"] == 1
    assert writer.get("demands", model="llama3.1:8b").json()["total"] == 1
    assert writer.send("delete", address).status_code == 204
    assert not Demand.objects.exists()


@pytest.mark.parametrize(
    ("changed", "status", "code", "field"),
    [
        ({"model": "nosuch"}, 422, "unknown_name", "model"),
        ({"priority": 7}, 422, "invalid_demand", "priority"),
        ({"pinned_gpus": ["GPU-gone"]}, 422, "unknown_name", "pinned_gpus"),
        ({"surprise": 1}, 422, "invalid_request", "surprise"),
    ],
)
def test_a_demand_that_cannot_be_is_a_problem_at_its_field(
    host: OneHost, writer: Script, changed: dict[str, Any], status: int, code: str, field: str
) -> None:
    answer = writer.post("demands", CHAT | changed)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["errors"][0]["field"] == field


def test_demands_go_out_as_yaml_and_come_in_again(host: OneHost, writer: Script, reader: Script) -> None:
    writer.post("demands", CHAT)
    text = reader.get("demands/yaml").content.decode()
    assert text == "demands:\n  - name: chat\n    model: llama3.1:8b\n"
    Demand.objects.all().delete()
    answer = writer.send("put", "demands/yaml", text, content_type="application/yaml")
    assert answer.json() == {"added": ["chat"], "changed": [], "deleted": [], "schedules": []}
    bomb = writer.send("put", "demands/yaml", "a: &a [x]\nb: *a", content_type="application/yaml")
    assert (bomb.status_code, bomb.json()["code"]) == (422, "yaml_alias")
    assert reader.send("put", "demands/yaml", text, content_type="application/yaml").status_code == 403


def test_a_plan_is_asked_for_solved_read_compared_and_deleted(host: OneHost, writer: Script) -> None:
    asked = writer.post("plans", {"demands": [CHAT], "name": "first"})
    assert (asked.status_code, asked.json()["state"]) == (202, "solving")
    solve_plan(asked.json()["id"])
    plan = writer.get(asked["Location"].removeprefix("/api/v1/")).json()
    assert (plan["state"], plan["is_proven"], plan["difference"]) == ("draft", True, [])
    assert plan["steps"][0]["instance"]["model"] == "llama3.1:8b"
    assert writer.get(f"plans/{plan['id']}/yaml").content.startswith(b"demands:\n")
    other = writer.post("plans", {"demands": [CHAT | {"context_length": 4096}]}).json()["id"]
    solve_plan(other)
    compared = writer.get(f"plans/{plan['id']}/compare/{other}").json()
    assert [demand["differs"] for demand in compared["demands"]] == [True]
    assert writer.get("plans", state="draft").json()["total"] == 2
    assert writer.send("delete", f"plans/{other}").status_code == 204
    assert Plan.objects.count() == 1


def test_a_plan_for_nothing_is_a_problem_and_members_may_only_read(host: OneHost, writer: Script, reader: Script) -> None:
    assert writer.post("plans", {}).json()["code"] == "no_demands"
    assert writer.post("plans", {"demands": [CHAT], "seconds": 99}).json()["code"] == "invalid_seconds"
    assert reader.post("plans", {"demands": [CHAT]}).status_code == 403
    assert reader.get("plans").json()["total"] == 0
