"""Agents by script: enrolled with a token that is shown once, listed, revoked, and their removed endpoints brought back."""

from __future__ import annotations

import pytest

from models_app.accounts.roles import PANEL
from models_app.agent import proofs
from models_app.agent.credentials import Credentials
from models_app.agent.messages import Enrol
from models_app.agent_link.enrolment import enrol, make_token
from models_app.agent_link.models import Agent
from models_app.inventory.models import Endpoint, Host
from tests.api.conftest import Script
from tests.factories import HostFactory

NONCE = "0" * 64


@pytest.fixture
def host(db: None) -> Host:
    return HostFactory(name="gpu-1", dismissed_names={"ollama": "ollama"})


@pytest.fixture
def agent(host: Host) -> Agent:
    mine = Credentials.from_token(make_token(PANEL, host)[1])
    assert mine.token_key is not None
    proof = proofs.proof(mine.token_key, "enrol", mine.key_id, mine.salt, NONCE)
    return enrol(Enrol(mine.key_id, mine.salt, proof, "gpu-1.example"), NONCE)


def test_a_token_is_made_for_a_host_by_its_name_and_shown_in_the_answer_only(writer: Script, host: Host) -> None:
    answer = writer.post("agents/enrolments", {"host": "gpu-1"})
    assert answer.status_code == 201
    assert answer.json()["host_id"] == host.pk
    assert answer.json()["token"]
    assert writer.get("agents").json()["items"] == []


def test_a_token_for_no_host_or_for_one_that_has_an_agent_is_refused(writer: Script, agent: Agent) -> None:
    unknown = writer.post("agents/enrolments", {"host": "gpu-2"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_host")
    assert writer.post("agents/enrolments", {"host": agent.host_id}).status_code == 409
    assert writer.post("agents/enrolments", {"host": agent.host_id, "replace": True}).status_code == 201


def test_an_agent_is_shown_without_its_secret(reader: Script, agent: Agent) -> None:
    [shown] = reader.get("agents").json()["items"]
    assert shown == reader.get(f"agents/{agent.pk}").json()
    assert (shown["host"], shown["hostname"], shown["is_connected"]) == ("gpu-1", "gpu-1.example", False)
    assert shown["removed_endpoints"] == ["ollama"]
    assert not [name for name in shown if "secret" in name or "key" in name]


def test_an_agent_is_revoked(writer: Script, agent: Agent) -> None:
    assert writer.post(f"agents/{agent.pk}/revoke").json()["revoked_at"]


def test_a_removed_endpoint_is_brought_back_once(writer: Script, agent: Agent) -> None:
    answer = writer.post(f"agents/{agent.pk}/endpoints", {"name": "ollama"})
    assert (answer.status_code, answer.json()["kind"], answer.json()["host"]) == (201, "ollama", "gpu-1")
    assert writer.get(f"agents/{agent.pk}").json()["removed_endpoints"] == []
    again = writer.post(f"agents/{agent.pk}/endpoints", {"name": "ollama"})
    assert (again.status_code, [one["field"] for one in again.json()["errors"]]) == (404, ["name"])
    assert Endpoint.objects.count() == 1


def test_a_read_token_changes_nothing(reader: Script, agent: Agent) -> None:
    for path, body in (
        ("agents/enrolments", {"host": "gpu-1", "replace": True}),
        (f"agents/{agent.pk}/revoke", None),
        (f"agents/{agent.pk}/endpoints", {"name": "ollama"}),
    ):
        assert reader.post(path, body).status_code == 403
    assert Agent.objects.get().revoked_at is None
    assert not Endpoint.objects.exists()
