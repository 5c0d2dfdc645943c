"""Who may use the API: a bearer token within its scope, or a signed-in browser (with CSRF protection)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from ninja.security import HttpBearer, SessionAuth

from models_app.accounts.models import ApiToken
from models_app.accounts.roles import Actor, Via, actor, client_address, is_admin, is_member
from models_app.accounts.tokens import find_token, may_write
from models_app.api.errors import Problem, respond

READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Token(HttpBearer):
    """``Authorization: Bearer berth_…``. With ``reads``, a POST is a question and changes nothing: reading is enough."""

    def __init__(self, *, reads: bool = False) -> None:
        super().__init__()
        self._reads = reads

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        found = find_token(token)
        if found is None:
            raise Problem(401, "invalid_token", "The token is unknown, expired or revoked.")
        if not self._reads and request.method not in READING and not may_write(found):
            raise Problem(403, "read_only", _why_read_only(found))
        request.user = found.user
        return actor(found.user, Via.API, client_address(request))


class Session(SessionAuth):
    """A signed-in browser: members read, admins write. ``reads`` as in ``Token``."""

    def __init__(self, *, reads: bool = False) -> None:
        super().__init__()
        self._reads = reads

    def authenticate(self, request: HttpRequest, key: str | None) -> Any:  # noqa: ARG002 - ninja's signature
        user = request.user
        if not isinstance(user, User) or not is_member(user):
            return None
        if not self._reads and request.method not in READING and not is_admin(user):
            raise Problem(403, "forbidden", "Only admins may change anything.")
        return actor(user, Via.WEB, client_address(request))


AUTH = [Token(), Session()]
AUTH_TO_READ = [Token(reads=True), Session(reads=True)]
"""For questions that are asked by POST."""


def acting(request: HttpRequest) -> Actor:
    """The actor that authentication found."""
    found = getattr(request, "auth", None)
    if not isinstance(found, Actor):
        raise Problem(401, "unauthenticated", "Send a valid token: Authorization: Bearer …")
    return found


def _why_read_only(token: ApiToken) -> str:
    if token.scope == ApiToken.Scope.WRITE:
        return "The token's owner is no longer an admin, so it may only read."
    return "The token may only read. Make one with the scope “write”."


def for_members(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """The API's description, for whoever may read the API: by a token or by signing in."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if (scheme.lower() == "bearer" and find_token(secret)) or is_member(request.user):
            return view(request, *args, **kwargs)
        return respond(Problem(401, "unauthenticated", "Log in, or send a valid token: Authorization: Bearer …"))

    return guarded
