"""How a host gets its agent, loses it, and gets another: one-time tokens, the agent's own secret, and its end."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.roles import PANEL, Actor
from models_app.agent.messages import CloseCode, Enrol
from models_app.agent.proofs import Token, is_nonce, is_proof
from models_app.agent_link import keys
from models_app.agent_link.door import tell_gone
from models_app.agent_link.models import Agent, AgentCommand, Enrolment
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.models import Host
from models_app.live import Topic, publish

VALID_FOR = timedelta(hours=1)
SIMULATED = "simulated"
"""The tag of a host that is not there."""
MOST_SIMULATED = 10_000


class Refused(Exception):
    """An agent is turned away; ``code`` closes its socket, the message is for the panel's log and its people."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def make_token(actor: Actor, host: Host, *, replace: bool = False) -> tuple[Enrolment, Token]:
    """A one-time token for the host's agent, which nothing can show again; earlier unused ones end.

    Raises ``InventoryRefused`` for the panel's own host, and where the host has an agent that is not to be replaced.
    """
    if host.is_local:
        raise InventoryRefused("host_is_local", "The panel samples its own machine itself; it needs no agent.")
    with transaction.atomic():
        host = Host.objects.select_for_update().get(pk=host.pk)
        if not replace and Agent.objects.filter(host=host, revoked_at=None).exists():
            raise InventoryRefused("agent_exists", f"{host.name} has an agent.", hint="Revoke it, or enrol it again.")
        Enrolment.objects.filter(host=host, used_at=None).delete()
        enrolment = Enrolment.objects.create(
            key_id=keys.new_key_id(),
            salt=keys.new_salt(),
            host=host,
            created_by=actor.name,
            expires_at=timezone.now() + VALID_FOR,
        )
        audit.record(actor, "agent.token", host, replace=replace)
        publish(Topic.INVENTORY)
    return enrolment, keys.token_of(enrolment)


def make_simulated(actor: Actor, count: int) -> Token:
    """One token for ``count`` new hosts that are marked as simulated, each enrolled by a one-time token made from it.

    Raises ``InventoryRefused`` for too many.
    """
    if not 1 <= count <= MOST_SIMULATED:
        raise InventoryRefused("too_many_hosts", f"One token is for 1 to {MOST_SIMULATED} simulated hosts.")
    batch = Enrolment(key_id=keys.new_key_id(), salt=keys.new_salt())
    token = keys.token_of(batch)
    name = f"{SIMULATED}-{batch.key_id[:6]}"
    with transaction.atomic():
        hosts = Host.objects.bulk_create(
            Host(name=f"{name}-{number:04}", tags=[SIMULATED]) for number in range(1, count + 1)
        )
        Enrolment.objects.bulk_create(
            Enrolment(
                key_id=token.member(number).key_id,
                salt=batch.salt,
                host=host,
                created_by=actor.name,
                expires_at=timezone.now() + VALID_FOR,
            )
            for number, host in enumerate(hosts, start=1)
        )
        audit.record(actor, "agent.token", None, simulated=count, hosts=name)
        publish(Topic.INVENTORY)
    return token


def enrol(message: Enrol, nonce: str) -> Agent:
    """The agent that a one-time token makes. The same agent may ask again while it has not connected.

    Raises ``Refused`` for a token that is unknown, expired, or used by another.
    """
    with transaction.atomic():
        enrolment = Enrolment.objects.select_for_update().filter(key_id=message.key_id).select_related("host").first()
        if enrolment is None or not is_nonce(message.salt) or not _is_proven(enrolment, message, nonce):
            raise Refused(CloseCode.REFUSED_TOKEN, "an unknown enrolment token")
        if enrolment.used_at is not None:
            return _again(enrolment, message)
        if enrolment.expires_at <= timezone.now():
            raise Refused(CloseCode.REFUSED_TOKEN, f"an expired enrolment token for {enrolment.host}")
        Enrolment.objects.filter(pk=enrolment.pk).update(used_at=timezone.now())
        return _made(enrolment, message)


def _is_proven(enrolment: Enrolment, message: Enrol, nonce: str) -> bool:
    key = keys.token_of(enrolment).key
    return is_proof(message.proof, key, "enrol", message.key_id, message.salt, nonce)


def _again(enrolment: Enrolment, message: Enrol) -> Agent:
    """The agent lost our answer: it has the same salt, and was not revoked meanwhile."""
    known = Agent.objects.select_related("host").filter(key_id=enrolment.key_id, salt=message.salt, revoked_at=None)
    agent = known.first()
    if agent is None:
        raise Refused(CloseCode.REFUSED_TOKEN, f"a used enrolment token for {enrolment.host}")
    return agent


def _made(enrolment: Enrolment, message: Enrol) -> Agent:
    before = Agent.objects.filter(host=enrolment.host).first()
    if before is not None:
        tell_gone(before.pk)
        before.delete()
    agent = Agent.objects.create(
        host=enrolment.host,
        key_id=enrolment.key_id,
        token_salt=enrolment.salt,
        salt=message.salt,
        hostname=message.hostname[:255],
    )
    detail = {"hostname": agent.hostname, "token_by": enrolment.created_by, "replaced": before is not None}
    audit.record(PANEL, "agent.enrol", enrolment.host, **detail)
    publish(Topic.INVENTORY)
    return agent


def revoke(actor: Actor, agent: Agent) -> None:
    """End an agent's secret now, and its socket. Revoking it twice changes nothing."""
    with transaction.atomic():
        if Agent.objects.filter(pk=agent.pk, revoked_at=None).update(revoked_at=timezone.now(), connection=""):
            _end_commands(agent)
            audit.record(actor, "agent.revoke", agent.host)
            publish(Topic.INVENTORY)
            tell_gone(agent.pk)


def _end_commands(agent: Agent) -> None:
    now: datetime = timezone.now()
    failure = {"code": "endpoint_unreachable", "message": "The agent was revoked."}
    AgentCommand.objects.filter(agent=agent, state__in=AgentCommand.OPEN).update(
        state=AgentCommand.State.LOST, failure=failure, finished_at=now
    )
