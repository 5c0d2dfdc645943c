"""Who is behind a request that passed the login."""

from __future__ import annotations

from typing import cast

from django.contrib.auth.models import User
from django.http import HttpRequest

from models_app.accounts.roles import Actor, Via, actor, client_address


def signed_in(request: HttpRequest) -> User:
    """The user; visitors never come this far, because every page asks for a login."""
    return cast(User, request.user)


def acting(request: HttpRequest) -> Actor:
    """The user as the one who acts."""
    return actor(signed_in(request), Via.WEB, client_address(request))
