"""Adding a host with an agent, the token that is shown once, and the end of an agent."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from models_app.agent.messages import Hello
from models_app.agent.proofs import TOKEN
from models_app.agent_link.enrolment import Refused
from models_app.agent_link.greeting import greet
from models_app.agent_link.models import Agent, Enrolment
from models_app.inventory.models import Host
from tests.factories import HostFactory

ADD = "/hosts/agents/add/"


@pytest.fixture
def agent(db) -> Agent:
    seen = timezone.now() - timedelta(minutes=3)
    return Agent.objects.create(host=HostFactory(name="gpu-1"), key_id="k", hostname="gpu-1.example", last_seen_at=seen)


def token_in(shown: str) -> str:
    found = TOKEN.search(shown)
    assert found
    return found[0]


def test_a_host_is_added_with_a_token_and_the_commands_that_use_it(as_admin, db):
    answer = as_admin.post(ADD, {"name": "gpu-1", "tags": "behind NAT"})
    shown = answer.content.decode()
    assert token_in(shown)
    for words in ("requirements-agent.txt", "/etc/berth/agent.toml", "ws://testserver/agent/", "systemctl enable --now"):
        assert words in shown
    assert "no-store" in answer["Cache-Control"]
    assert Host.objects.get().tags == ["behind NAT"]


def test_an_authority_of_ones_own_is_named_behind_tls_only(as_admin, db):
    assert "ca_file" not in as_admin.post(ADD, {"name": "gpu-1", "tags": ""}).content.decode()
    assert "ca_file" in as_admin.post(ADD, {"name": "gpu-2", "tags": ""}, secure=True).content.decode()


def test_the_token_is_in_no_command_that_a_shell_remembers(as_admin, db):
    shown = as_admin.post(ADD, {"name": "gpu-1", "tags": ""}).content.decode()
    assert not any(token_in(shown) in block for block in shown.split("<pre")[1:])


def test_the_token_is_shown_once(as_admin, db):
    token = token_in(as_admin.post(ADD, {"name": "gpu-1", "tags": ""}).content.decode())
    host = Host.objects.get()
    for page in ("/hosts/", f"/hosts/{host.pk}/agent/", "/audit/", f"/hosts/{host.pk}/edit/"):
        assert token not in as_admin.get(page).content.decode()


def test_a_name_that_is_taken_keeps_what_was_typed(as_admin, db):
    HostFactory(name="gpu-1")
    answer = as_admin.post(ADD, {"name": "gpu-1", "tags": "here"})
    assert answer.status_code == 422
    assert 'value="here"' in answer.content.decode()
    assert not Enrolment.objects.exists()


def test_the_page_says_how_the_agent_is(as_member, agent):
    shown = as_member.get("/hosts/").content.decode()
    assert "Agent away" in shown
    Agent.objects.update(
        connection="x", last_seen_at=timezone.now(), clock_skew_seconds=2520.0, problem="It reports GPU-x."
    )
    shown = as_member.get("/hosts/").content.decode()
    for words in ("Agent connected", "gpu-1.example", "42 min", "ahead", "corrected", "It reports GPU-x."):
        assert words in shown


def test_an_agent_of_a_panel_that_was_killed_is_away(as_member, agent):
    Agent.objects.update(connection="a socket of the panel before")
    assert "Agent away" in as_member.get("/hosts/").content.decode()


def test_an_agent_whose_secret_is_refused_is_away_with_the_reason_and_what_to_do(as_admin, agent):
    with pytest.raises(Refused):
        greet(Hello("k", "0" * 64, "boot", "proof", timezone.now()), "1" * 64, "connection", timezone.now())
    shown = as_admin.get("/hosts/").content.decode()
    assert "Agent away" in shown
    assert "its secret is refused: choose “Enrol again”" in shown


def test_nobody_can_say_so_of_an_agent_that_is_connected(agent):
    Agent.objects.update(connection="x", last_seen_at=timezone.now())
    with pytest.raises(Refused):
        greet(Hello("k", "0" * 64, "boot", "proof", timezone.now()), "1" * 64, "connection", timezone.now())
    assert not Agent.objects.get().problem


def test_a_host_with_an_agent_is_enrolled_again_only_when_that_is_meant(as_admin, agent):
    address = f"/hosts/{agent.host_id}/agent/"
    question = as_admin.get(address).content.decode()
    assert "is no longer let in" in question
    refused = as_admin.post(address)
    assert refused.status_code == 409
    assert not TOKEN.search(refused.content.decode())
    assert token_in(as_admin.post(address, {"replace": "1"}).content.decode())


def test_revoking_asks_first(as_admin, agent):
    address = f"/agents/{agent.pk}/revoke/"
    assert "Its connection is closed" in as_admin.get(address).content.decode()
    assert Agent.objects.get().revoked_at is None
    shown = as_admin.post(address, follow=True).content.decode()
    assert "no longer let in" in shown
    assert "Agent revoked" in shown
    assert as_admin.post(address).status_code == 404


def test_members_are_refused_all_of_it(as_member, agent):
    for address in (ADD, f"/hosts/{agent.host_id}/agent/", f"/agents/{agent.pk}/revoke/"):
        assert as_member.get(address).status_code == 403
        assert as_member.post(address, {"name": "x", "tags": ""}).status_code == 403
    assert "Revoke" not in as_member.get("/hosts/").content.decode()


def test_the_panels_own_machine_is_offered_none(as_admin, db):
    host = HostFactory(is_local=True)
    assert "Enrol" not in as_admin.get("/hosts/").content.decode()
    assert as_admin.post(f"/hosts/{host.pk}/agent/").status_code == 409


def test_only_a_question_that_loses_something_has_a_warning_button(as_admin, agent):
    warned = "btn danger primary"
    assert warned in as_admin.get(f"/agents/{agent.pk}/revoke/").content.decode()
    assert warned not in as_admin.get(f"/hosts/{HostFactory().pk}/agent/").content.decode()
