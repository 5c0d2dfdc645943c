"""The secrets of agents, made anew whenever they are needed: the database holds salts, the panel's secret key the rest.

Whoever steals the database alone can impersonate no agent; whoever steals ``SECRET_KEY`` as well can. A new ``SECRET_KEY``
makes every agent enrol again.
"""

from __future__ import annotations

import secrets
import uuid

from django.utils.crypto import salted_hmac

from models_app.agent import proofs
from models_app.agent.proofs import MEMBER_DIGITS, Token
from models_app.agent_link.models import Agent, Enrolment


def new_key_id() -> str:
    """A name for a secret, which may be known."""
    return uuid.uuid4().hex[:-MEMBER_DIGITS] + "0" * MEMBER_DIGITS


def new_salt() -> str:
    """A random part of a secret, which says nothing without the panel's key."""
    return secrets.token_hex(32)


def token_of(enrolment: Enrolment) -> Token:
    """The one-time token of an enrolment."""
    return Token(enrolment.key_id, _token_key(enrolment.key_id, enrolment.salt))


def secret_of(agent: Agent) -> bytes:
    """The secret that the agent and the panel share."""
    return proofs.agent_secret(_token_key(agent.key_id, agent.token_salt), agent.salt)


def _token_key(key_id: str, salt: str) -> bytes:
    """That of a batch's member is made from the batch's, as whoever holds the batch's token makes it."""
    head, tail = key_id[:-MEMBER_DIGITS], key_id[-MEMBER_DIGITS:]
    whole = salted_hmac("berth.agent.token", f"{head}{'0' * MEMBER_DIGITS}:{salt}", algorithm="sha256").digest()
    return proofs.member_key(whole, tail) if tail.strip("0") else whole
