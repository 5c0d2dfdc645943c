"""API tokens: made once, shown once, stored as a SHA-256 hash.

A token is 256 random bits, so a fast hash is enough: there is nothing to guess that a slow one would protect.
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import OperationalError
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.models import ApiToken
from models_app.accounts.roles import Actor, is_admin, may_act, may_see

MARK = "berth_"
USED_RESOLUTION = timedelta(minutes=1)


class TokenRefused(Exception):
    """A token that cannot be made; the message says why."""


def create_token(
    actor: Actor, user: User, name: str, scope: ApiToken.Scope, expires_at: datetime | None = None
) -> tuple[ApiToken, str]:
    """A new token for ``user`` and its secret, which nothing can show again.

    Raises TokenRefused for an empty name, an expiry in the past, or a write token for somebody who may only see.
    """
    if not name.strip():
        raise TokenRefused("A token needs a name, so that you can tell it from others.")
    if expires_at and expires_at <= timezone.now():
        raise TokenRefused("The expiry lies in the past.")
    if scope == ApiToken.Scope.WRITE and not is_admin(user):
        raise TokenRefused("Only admins may have a write token.")
    secret = MARK + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        name=name.strip()[:80],
        user=user,
        scope=scope,
        prefix=secret[: len(MARK) + 6],
        digest=_digest(secret),
        expires_at=expires_at,
    )
    audit.record(actor, "token.create", token, scope=str(scope), owner=user.get_username())
    return token, secret


def revoke_token(actor: Actor, token: ApiToken) -> None:
    """End a token now. Revoking it twice changes nothing."""
    if ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()):
        audit.record(actor, "token.revoke", token, owner=token.user.get_username())


def unrevoked_tokens(beginning: str) -> QuerySet[ApiToken]:
    """Those whose shown prefix begins so, and the one that is exactly this, as whoever finds a lost token has it."""
    return ApiToken.objects.filter(Q(prefix__startswith=beginning) | Q(digest=_digest(beginning)), revoked_at=None)


def find_token(secret: str) -> ApiToken | None:
    """The usable token of that secret: neither revoked nor expired, its owner active and in a role.

    One query, a row for each of the owner's groups: it is part of every request to the API.
    """
    if not secret.startswith(MARK) or len(secret) > 100:
        return None
    now = timezone.now()
    unrevoked = ApiToken.objects.filter(digest=_digest(secret), revoked_at=None).order_by().select_related("user")
    rows = list(unrevoked.annotate(group=F("user__groups__name")))
    token = next(iter(rows), None)
    if token is None or (token.expires_at and token.expires_at <= now):
        return None
    token.owner_groups = frozenset(row.group for row in rows)
    if not may_see(token.user, token.owner_groups):
        return None
    if token.last_used_at is None or token.last_used_at < now - USED_RESOLUTION:
        with suppress(OperationalError):  # who may read, reads, though the disk is full
            ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


def may_write(token: ApiToken) -> bool:
    """Whether the token may change something: its scope says so and its owner is still an admin."""
    groups = token.owner_groups
    owner_may = is_admin(token.user) if groups is None else may_act(token.user, groups)
    return token.scope == ApiToken.Scope.WRITE and owner_may


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
