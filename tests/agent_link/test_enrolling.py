"""A one-time token becomes an agent's secret once, and nothing in the database is of use to a thief."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core import serializers
from django.utils import timezone

from models_app.accounts.models import AuditEntry
from models_app.accounts.roles import PANEL
from models_app.agent import proofs
from models_app.agent.credentials import Credentials
from models_app.agent.messages import CloseCode, Enrol
from models_app.agent_link import keys
from models_app.agent_link.enrolment import Refused, enrol, make_simulated, make_token, revoke
from models_app.agent_link.models import Agent, AgentCommand, Enrolment
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.models import Host
from tests.factories import HostFactory

pytestmark = pytest.mark.django_db

NONCE = "0" * 64


@pytest.fixture
def host() -> Host:
    return HostFactory(name="gpu-1")


def message(credentials: Credentials, nonce: str = NONCE) -> Enrol:
    """What an agent with these credentials says to a challenge."""
    assert credentials.token_key is not None
    proof = proofs.proof(credentials.token_key, "enrol", credentials.key_id, credentials.salt, nonce)
    return Enrol(credentials.key_id, credentials.salt, proof, "gpu-1.example")


def test_both_ends_make_the_same_secret(host: Host) -> None:
    mine = Credentials.from_token(make_token(PANEL, host)[1])
    agent = enrol(message(mine), NONCE)
    assert keys.secret_of(agent) == mine.secret
    assert (agent.host, agent.hostname) == (host, "gpu-1.example")


def test_neither_the_token_nor_the_secret_is_in_the_database(host: Host) -> None:
    token = make_token(PANEL, host)[1]
    mine = Credentials.from_token(token)
    enrol(message(mine), NONCE)
    stored = serializers.serialize("json", [*Agent.objects.all(), *Enrolment.objects.all(), *AuditEntry.objects.all()])
    for secret in (str(token), token.key.hex(), str(token).rpartition("-")[2], mine.secret.hex()):
        assert secret not in stored


def test_a_stolen_database_is_of_no_use_without_the_panels_key(host: Host, settings) -> None:
    mine = Credentials.from_token(make_token(PANEL, host)[1])
    agent = enrol(message(mine), NONCE)
    settings.SECRET_KEY = "the thief's own"
    assert keys.secret_of(agent) != mine.secret


def test_a_token_counts_once(host: Host) -> None:
    token = make_token(PANEL, host)[1]
    enrol(message(Credentials.from_token(token)), NONCE)
    with pytest.raises(Refused) as refused:
        enrol(message(Credentials.from_token(token)), NONCE)
    assert refused.value.code == CloseCode.REFUSED_TOKEN
    assert Agent.objects.count() == 1


def test_an_agent_that_lost_the_answer_may_ask_again(host: Host) -> None:
    mine = Credentials.from_token(make_token(PANEL, host)[1])
    assert enrol(message(mine), NONCE) == enrol(message(mine, "1" * 64), "1" * 64)


def test_but_not_once_it_was_revoked(host: Host) -> None:
    mine = Credentials.from_token(make_token(PANEL, host)[1])
    revoke(PANEL, enrol(message(mine), NONCE))
    with pytest.raises(Refused):
        enrol(message(mine), NONCE)


def test_a_token_expires(host: Host) -> None:
    mine = Credentials.from_token(make_token(PANEL, host)[1])
    Enrolment.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Refused, match="expired"):
        enrol(message(mine), NONCE)


def test_a_replayed_enrolment_is_refused(host: Host) -> None:
    overheard = message(Credentials.from_token(make_token(PANEL, host)[1]))
    with pytest.raises(Refused):
        enrol(overheard, "1" * 64)


@pytest.mark.parametrize("salt", ["", "f" * 63, "F" * 64, "g" * 64])
def test_a_salt_is_what_agents_make(salt: str, host: Host) -> None:
    token = make_token(PANEL, host)[1]
    with pytest.raises(Refused):
        enrol(message(Credentials(token.key_id, b"", salt, token.key)), NONCE)


def test_a_second_token_ends_the_first(host: Host) -> None:
    first = Credentials.from_token(make_token(PANEL, host)[1])
    make_token(PANEL, host)
    with pytest.raises(Refused):
        enrol(message(first), NONCE)


def test_a_host_with_an_agent_gets_another_only_when_that_is_meant(host: Host) -> None:
    enrol(message(Credentials.from_token(make_token(PANEL, host)[1])), NONCE)
    with pytest.raises(InventoryRefused, match="has an agent"):
        make_token(PANEL, host)
    again = Credentials.from_token(make_token(PANEL, host, replace=True)[1])
    agent = enrol(message(again), NONCE)
    assert Agent.objects.get() == agent


def test_until_then_the_agent_that_there_is_stays(host: Host) -> None:
    agent = enrol(message(Credentials.from_token(make_token(PANEL, host)[1])), NONCE)
    make_token(PANEL, host, replace=True)
    assert Agent.objects.get(revoked_at=None) == agent


def test_the_panels_own_machine_needs_no_agent() -> None:
    with pytest.raises(InventoryRefused) as refused:
        make_token(PANEL, HostFactory(is_local=True))
    assert refused.value.code == "host_is_local"


def test_revoking_gives_up_what_was_asked(host: Host) -> None:
    agent = enrol(message(Credentials.from_token(make_token(PANEL, host)[1])), NONCE)
    asked = AgentCommand.objects.create(agent=agent, call="load", deadline_at=timezone.now())
    revoke(PANEL, agent)
    asked.refresh_from_db()
    assert asked.state == AgentCommand.State.LOST


def test_every_step_is_in_the_audit_trail(host: Host) -> None:
    agent = enrol(message(Credentials.from_token(make_token(PANEL, host)[1])), NONCE)
    revoke(PANEL, agent)
    revoke(PANEL, agent)
    actions = list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))
    assert actions == ["agent.token", "agent.enrol", "agent.revoke"]


def test_a_token_for_simulated_hosts_enrols_each_of_them_once_and_no_other() -> None:
    token = make_simulated(PANEL, 3)
    members = [Credentials.from_token(token.member(number)) for number in (1, 2, 3)]
    hosts = list(Host.objects.filter(tags=["simulated"]).order_by("name"))
    assert [enrol(message(mine), NONCE).host for mine in members] == hosts
    assert [keys.secret_of(agent) for agent in Agent.objects.order_by("host__name")] == [mine.secret for mine in members]
    for other in (token.member(1), token.member(4), token):
        with pytest.raises(Refused):
            enrol(message(Credentials.from_token(other)), NONCE)
