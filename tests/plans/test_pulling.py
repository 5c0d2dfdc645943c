"""A demand that is not met for want of a file: where it could be pulled to, in numbers."""

from __future__ import annotations

from typing import Any

import pytest

from models_app.backends.protocol import Capability
from models_app.inventory.models import Endpoint
from models_app.plans.answers import answer_columns
from models_app.plans.changes import Changes
from models_app.plans.demand import read_demand
from models_app.plans.snapshot import take_snapshot
from models_app.plans.solving import solve
from tests.plans.fleets import OneHost, one_host

pytestmark = pytest.mark.django_db


@pytest.fixture
def full() -> OneHost:
    """The only host that has the model, and no room for it."""
    made = one_host(gib=8)
    made.install("llama3.1:8b")
    made.sample(others_gib=(7,), ram_gib=2)
    return made


@pytest.fixture
def empty() -> OneHost:
    return one_host()


def remedies(**more: Any) -> list[dict[str, Any]]:
    document = {"name": "chat", "model": "llama3.1:8b"} | more
    solved = solve(take_snapshot(Changes()), [read_demand(document)])
    unmet = answer_columns(solved, 1.0)["unmet"]
    return [remedy for row in unmet for remedy in row["remedies"] if remedy["change"] == "pull"]


def test_a_server_with_room_that_lacks_the_model_is_offered_first(full: OneHost, empty: OneHost) -> None:
    (remedy,) = remedies()
    assert (remedy["endpoint_id"], remedy["model"]) == (empty.endpoint.pk, "llama3.1:8b")
    assert remedy["description"].startswith(f"Pull llama3.1:8b to {empty.endpoint.name}: it needs ")
    assert "21.1 GiB are left on GPU 0" in remedy["description"]


def test_a_model_that_only_a_silent_server_has_can_be_pulled_to_another(full: OneHost, empty: OneHost) -> None:
    Endpoint.objects.filter(pk=full.endpoint.pk).update(state=Endpoint.State.UNREACHABLE)
    assert [remedy["endpoint_id"] for remedy in remedies()] == [empty.endpoint.pk]


def test_nothing_is_offered_where_nothing_would_help(full: OneHost, empty: OneHost) -> None:
    assert remedies(hosts=[full.host.name]) == []
    empty.sample(others_gib=(20,))
    assert remedies() == []


def test_a_server_that_cannot_pull_is_not_offered(full: OneHost, empty: OneHost) -> None:
    able = [name for name in empty.endpoint.capabilities if name != Capability.PULL]
    Endpoint.objects.filter(pk=empty.endpoint.pk).update(capabilities=able)
    assert remedies() == []
