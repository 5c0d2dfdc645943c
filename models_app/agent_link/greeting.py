"""Letting an agent in: whose secret it is, whether the proof is one, and which socket speaks for it from now on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from models_app.agent.messages import VERSION, CloseCode, Hello, Welcome
from models_app.agent.proofs import is_nonce, is_proof, proof
from models_app.agent_link import keys
from models_app.agent_link.commands import settle_after_greeting
from models_app.agent_link.door import tell_gone
from models_app.agent_link.enrolment import Refused
from models_app.agent_link.models import AWAY_AFTER, NOT_LET_IN, Agent
from models_app.inventory.models import Host
from models_app.live import Topic, publish

log = logging.getLogger(__name__)

MOST_BOOT_ID = 64


@dataclass(frozen=True, slots=True)
class Greeted:
    """An agent that was let in."""

    agent: Agent
    host: Host
    welcome: Welcome
    unwanted: tuple[int, ...]
    """Commands that the agent works on and nobody waits for."""


def greet(hello: Hello, panel_nonce: str, connection: str, now: datetime) -> Greeted:
    """Let the agent in by ``connection``; an earlier socket of it closes. Raises ``Refused``, which its row says."""
    try:
        return _let_in(hello, panel_nonce, connection, now)
    except Refused as refused:
        _say_why(hello.key_id, refused.code, now)
        raise


def _let_in(hello: Hello, panel_nonce: str, connection: str, now: datetime) -> Greeted:
    if hello.version != VERSION:
        raise Refused(CloseCode.VERSION, f"an agent of version {hello.version}")
    with transaction.atomic():
        agent = _known(hello, panel_nonce)
        is_same = agent.boot_id == hello.boot_id
        was_away = not agent.connection
        agent.boot_id, agent.committed = hello.boot_id, agent.committed if is_same else 0
        agent.connection, agent.connected_at, agent.last_seen_at = connection, now, now
        agent.clock_skew_seconds = round((hello.time - now).total_seconds(), 3)
        agent.hostname, agent.program, agent.problem = hello.hostname[:255], hello.program[:40], ""
        agent.save()
        unwanted = settle_after_greeting(agent, hello.running)
        tell_gone(agent.pk)
        if was_away:
            publish(Topic.INVENTORY)
    return Greeted(agent, agent.host, _welcome(agent, hello, panel_nonce), unwanted)


def _say_why(key_id: str, code: int, now: datetime) -> None:
    """Nobody who merely knows an id can say so of an agent that is connected."""
    told = NOT_LET_IN[code]
    away = Agent.objects.filter(key_id=key_id, revoked_at=None).exclude(problem=told)
    if away.filter(Q(connection="") | Q(last_seen_at__lt=now - AWAY_AFTER)).update(problem=told):
        publish(Topic.INVENTORY)


def leave(agent_id: int, connection: str) -> None:
    """The socket is gone; nothing happens where another has taken over."""
    if Agent.objects.filter(pk=agent_id, connection=connection).update(connection="", last_seen_at=timezone.now()):
        publish(Topic.INVENTORY)


def _known(hello: Hello, panel_nonce: str) -> Agent:
    agent = Agent.objects.select_for_update().select_related("host").filter(key_id=hello.key_id, revoked_at=None).first()
    if agent is None or not is_nonce(hello.nonce) or not 0 < len(hello.boot_id) <= MOST_BOOT_ID:
        raise Refused(CloseCode.REFUSED, "an agent that is not known, or was revoked")
    parts = (hello.key_id, panel_nonce, hello.nonce, hello.boot_id)
    if not is_proof(hello.proof, keys.secret_of(agent), "agent", *parts):
        raise Refused(CloseCode.REFUSED, f"an agent that claims to be that of {agent.host} and lacks its secret")
    return agent


def _welcome(agent: Agent, hello: Hello, panel_nonce: str) -> Welcome:
    return Welcome(
        host=agent.host.name,
        proof=proof(keys.secret_of(agent), "panel", hello.nonce, panel_nonce),
        committed=agent.committed,
        time=timezone.now(),
        sample_seconds=settings.SAMPLE_SECONDS,
        observe_seconds=settings.OBSERVE_SECONDS,
    )
