"""Demands and plans as rows: who asked, what is refused, what a plan made for another fleet is worth."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from models_app.accounts.models import AuditEntry
from models_app.accounts.roles import Actor, Via
from models_app.inventory.models import Endpoint
from models_app.operations.refusals import RequestRefused
from models_app.plans import records, requests
from models_app.plans.comparing import compare
from models_app.plans.documents import demands_yaml
from models_app.plans.freshness import differences, outdated_demands, require_applicable
from models_app.plans.models import Demand, Plan
from models_app.plans.schedules import Schedule
from models_app.plans.scheduling import save_schedule
from models_app.plans.snapshot import take_snapshot
from models_app.plans.solving import solve_plan
from tests.factories import GIB
from tests.plans.fleets import OneHost, one_host

pytestmark = pytest.mark.django_db
ADA = Actor(None, "ada", Via.WEB)
CHAT = {"name": "chat", "model": "llama3.1:8b"}


@pytest.fixture
def host() -> OneHost:
    made = one_host(gpus=2)
    made.install("llama3.1:8b")
    made.install("phi4:14b")
    return made


def plan_for(*documents: dict[str, Any], **more: Any) -> Plan:
    plan = requests.request_plan(ADA, demands=documents, **more)
    solve_plan(plan.pk)
    plan.refresh_from_db()
    return plan


def refusal(call: Any, *args: Any, **kwargs: Any) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        call(*args, **kwargs)
    return caught.value


def test_a_demand_is_kept_and_the_audit_knows_who_asked(host: OneHost) -> None:
    row = requests.save_demand(ADA, CHAT | {"hosts": [host.host.name], "pinned_gpus": [host.gpus[0].uuid]})
    assert (row.name, row.hosts) == ("chat", [host.host.name])
    requests.save_demand(ADA, CHAT | {"priority": 1}, row)
    assert Demand.objects.get().priority == 1
    assert list(AuditEntry.objects.values_list("action", "actor_name")) == [("demand.change", "ada"), ("demand.add", "ada")]


@pytest.mark.parametrize(
    ("changed", "code", "field"),
    [
        ({"priority": 0}, "invalid_demand", "priority"),
        ({"model": "nosuch"}, "unknown_name", "model"),
        ({"variants": ["phi4:14b", "nosuch"]}, "unknown_name", "variants"),
        ({"hosts": ["nowhere"]}, "unknown_name", "hosts"),
        ({"pinned_gpus": ["GPU-gone"]}, "unknown_name", "pinned_gpus"),
        ({"apart_from": ["nobody"]}, "contradiction", "apart_from"),
    ],
)
def test_a_demand_that_cannot_be_is_refused_at_its_field(
    host: OneHost, changed: dict[str, Any], code: str, field: str
) -> None:
    refused = refusal(requests.save_demand, ADA, CHAT | changed)
    assert (refused.code, list(refused.errors)) == (code, [field])
    assert not Demand.objects.exists()


def test_two_demands_do_not_share_a_name(host: OneHost) -> None:
    requests.save_demand(ADA, CHAT)
    assert refusal(requests.save_demand, ADA, CHAT).code == "name_taken"


def test_of_two_who_save_a_demand_at_once_the_later_is_told(host: OneHost, monkeypatch: pytest.MonkeyPatch) -> None:
    first = requests.save_demand(ADA, CHAT)
    stale = Demand.objects.get()
    requests.delete_demand(ADA, first)
    assert refusal(requests.save_demand, ADA, CHAT, stale).code == "demand_gone"
    assert not Demand.objects.exists()
    requests.save_demand(ADA, CHAT)
    monkeypatch.setattr(requests, "all_specs", lambda: ())  # as it was a moment ago
    assert refusal(requests.save_demand, ADA, CHAT).code == "name_taken"


def test_others_follow_when_a_demand_is_renamed_or_deleted(host: OneHost) -> None:
    row = requests.save_demand(ADA, CHAT)
    other = requests.save_demand(ADA, {"name": "code", "model": "phi4:14b", "apart_from": ["chat"]})
    requests.save_demand(ADA, CHAT | {"name": "talk"}, row)
    other.refresh_from_db()
    assert other.apart_from == ["talk"]
    requests.delete_demand(ADA, Demand.objects.get(name="talk"))
    other.refresh_from_db()
    assert other.apart_from == []


def test_a_demand_that_is_saved_writes_no_other(host: OneHost) -> None:
    requests.save_demand(ADA, CHAT)
    row = requests.save_demand(ADA, {"name": "code", "model": "phi4:14b", "apart_from": ["chat"]})
    with CaptureQueriesContext(connection) as asked:
        requests.save_demand(ADA, {"name": "code", "model": "phi4:14b", "priority": 1}, row)
    written = [query["sql"] for query in asked if query["sql"].startswith(f'UPDATE "{Demand._meta.db_table}"')]
    assert len(written) == 1


def test_however_many_hosts_a_snapshot_asks_the_database_the_same(host: OneHost) -> None:
    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            take_snapshot()
        return len(queries)

    host.sample()
    before = asked()
    for _ in range(3):
        one_host().sample()
    assert len(take_snapshot().pools) > 3
    assert asked() == before


def test_an_import_adds_changes_and_with_replace_deletes_all_or_nothing(host: OneHost) -> None:
    requests.save_demand(ADA, CHAT)
    requests.save_demand(ADA, {"name": "old", "model": "phi4:14b"})
    text = "demands: [{name: chat, model: 'llama3.1:8b', priority: 1}, {name: code, model: 'phi4:14b'}]"
    done = requests.import_demands(ADA, text, replace=True)
    assert (done.added, done.changed, done.deleted) == (("code",), ("chat",), ("old",))
    before = demands_yaml(requests.all_specs())
    refused = refusal(requests.import_demands, ADA, "demands: [{name: chat, model: 'phi4:14b'}, {name: x, model: nosuch}]")
    assert (refused.code, list(refused.errors)) == ("unknown_name", ["x"])
    assert demands_yaml(requests.all_specs()) == before
    assert requests.import_demands(ADA, before) == requests.Imported((), (), ())


def test_an_import_keeps_the_schedules_of_what_it_names_and_tells_which_others_went(host: OneHost) -> None:
    for name, model in (("chat", "llama3.1:8b"), ("old", "phi4:14b")):
        row = requests.save_demand(ADA, {"name": name, "model": model})
        save_schedule(ADA, name=f"{name} at eight", cron="0 8 * * *", time_zone="UTC", demand=row)
    done = requests.import_demands(ADA, "demands: [{name: chat, model: 'llama3.1:8b', priority: 1}]", replace=True)
    assert done.schedules == ("old at eight",)
    assert [row.name for row in Schedule.objects.all()] == ["chat at eight"]
    assert AuditEntry.objects.get(action="demand.import").detail["schedules_deleted"] == ["old at eight"]


@pytest.mark.django_db(transaction=True)
def test_two_demands_changed_at_once_do_not_contradict_each_other(host: OneHost) -> None:
    """Each alone is fine: together with the other, apart from the other."""
    rows = [requests.save_demand(ADA, {"name": name, "model": "phi4:14b"}) for name in ("a", "b")]
    said = [
        {"name": "a", "model": "phi4:14b", "together_with": ["b"]},
        {"name": "b", "model": "phi4:14b", "apart_from": ["a"]},
    ]
    start, refusals = threading.Barrier(2), []

    def save(row: Demand, document: dict[str, Any]) -> None:
        start.wait()
        try:
            requests.save_demand(ADA, document, row)
        except RequestRefused as refused:
            refusals.append(refused.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=save, args=pair) for pair in zip(rows, said, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refusals == ["contradiction"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"demands": []}, "no_demands"),
        ({"demands": [{"name": "a"}]}, "invalid_demands"),
        ({"demands": [CHAT], "seconds": 1000}, "invalid_seconds"),
        ({"demands": [CHAT], "name": "x" * 81}, "invalid_name"),
        ({"demands": [CHAT], "changes": {"removed_gpus": "GPU-1"}}, "invalid_changes"),
        ({"demands": [CHAT], "changes": {"added_gpus": [{"host": "a", "bytes": 5}]}}, "invalid_changes"),
        ({"demands": [CHAT], "changes": {"headroom_percent": 90}}, "invalid_changes"),
    ],
)
def test_a_plan_for_nothing_or_for_nonsense_is_refused(host: OneHost, asked: dict[str, Any], code: str) -> None:
    assert refusal(requests.request_plan, ADA, **asked).code == code
    assert not Plan.objects.exists()


def test_a_solved_plan_says_all_that_is_needed_to_apply_it(host: OneHost) -> None:
    host.load("phi4:14b", gpu=0)
    host.sample(others_gib=(8, 20))
    plan = plan_for(CHAT)
    assert (plan.state, plan.is_proven, plan.is_what_if) == (Plan.State.DRAFT, True, False)
    steps = records.steps(plan.steps)
    assert [(step.act, step.instance.model, step.after) for step in steps] == [
        ("unload", "phi4:14b", ()),
        ("load", "llama3.1:8b", (0,)),
    ]
    assert steps[0].instance.foreign
    assert steps[1].instance.load_options.gpu == host.gpus[0].uuid
    assert {goal.goal for goal in records.goals(plan.goals)} >= {"residency", "quality", "latency"}
    require_applicable(plan)


def test_a_plan_is_solved_once(host: OneHost) -> None:
    plan = plan_for(CHAT)
    solved_at = plan.solved_at
    solve_plan(plan.pk)
    plan.refresh_from_db()
    assert plan.solved_at == solved_at


def test_a_plan_for_another_fleet_is_refused_with_the_difference(host: OneHost) -> None:
    plan = plan_for(CHAT)
    assert differences(plan) == []
    host.load("phi4:14b", gpu=1)
    host.sample(others_gib=(9, 0))
    refused = refusal(require_applicable, plan)
    plan.refresh_from_db()
    assert (refused.code, plan.state) == ("plan_stale", Plan.State.STALE)
    assert plan.difference == [
        f"phi4:14b is now loaded on {host.endpoint.name}.",
        f"Other programs use 9.0 GiB more of GPU 0 of {host.host.name} than when the plan was made.",
    ]


def test_a_gpu_gone_between_plan_and_apply_is_named(host: OneHost) -> None:
    plan = plan_for(CHAT)
    host.gpus = host.gpus[:1]
    host.sample()
    assert refusal(require_applicable, plan).message.startswith(f"{plan} was made for another fleet: GPU 1 of")


def test_a_server_that_has_learned_to_choose_its_gpu_makes_a_plan_stale(host: OneHost) -> None:
    able = host.endpoint.load_options
    Endpoint.objects.update(load_options=[name for name in able if name != "gpu"])
    plan = plan_for(CHAT)
    Endpoint.objects.update(load_options=able)
    assert "can do other things" in refusal(require_applicable, plan).message


def test_a_what_if_is_never_applied(host: OneHost) -> None:
    plan = plan_for(CHAT, changes={"added_gpus": [{"host": host.host.name, "bytes": 48 * GIB}]})
    assert refusal(require_applicable, plan).code == "plan_is_what_if"
    assert differences(plan) == []


def test_a_plan_says_which_demands_have_changed_since(host: OneHost) -> None:
    row = requests.save_demand(ADA, CHAT)
    requests.save_demand(ADA, {"name": "code", "model": "phi4:14b"})
    plan = requests.request_plan(ADA)
    requests.save_demand(ADA, CHAT | {"priority": 1}, row)
    requests.delete_demand(ADA, Demand.objects.get(name="code"))
    requests.save_demand(ADA, {"name": "new", "model": "phi4:14b"})
    assert outdated_demands(plan) == [
        "The demand new is new.",
        "The demand code is gone.",
        "The demand chat has changed.",
    ]


def test_two_plans_are_compared_goal_by_goal_and_demand_by_demand(host: OneHost) -> None:
    first = plan_for(CHAT | {"context_length": 4096})
    second = plan_for(CHAT | {"context_length": 16384}, {"name": "code", "model": "phi4:14b"})
    compared = compare(first, second)
    assert {goal.goal: goal.better for goal in compared.goals}["residency"] == 1
    assert [(demand.demand, demand.differs, bool(demand.first)) for demand in compared.demands] == [
        ("chat", True, True),
        ("code", True, False),
    ]
    assert "16,384 tokens" in compared.demands[0].second[0]
    assert not any(demand.differs for demand in compare(first, first).demands)
