"""Whether the people behind open sockets are still logged in and in which role, asked for all of them at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from models_app.accounts.roles import Role


@dataclass(frozen=True, slots=True)
class Login:
    """A sign-in: the user, the browser's session, and the hash that a change of password alters."""

    user_id: int
    session_key: str
    password_hash: str


@dataclass(frozen=True, slots=True)
class Standing:
    """``signed_in`` is false once the session, the user or the password has changed; ``role`` is ``None`` without one."""

    signed_in: bool
    role: Role | None


def login_of(user: User, session_key: str) -> Login:
    """The sign-in of an authenticated user."""
    return Login(user.pk, session_key, user.get_session_auth_hash())


def standings(logins: Iterable[Login]) -> dict[Login, Standing]:
    """The standing of each login now, by two queries however many there are."""
    wanted = set(logins)
    keys = {login.session_key for login in wanted}
    alive = set(
        Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now()).values_list("session_key", flat=True)
    )
    users = {user.pk: (user, role) for user, role in _users_with_roles({login.user_id for login in wanted})}
    return {login: _standing(login, alive, users) for login in wanted}


def _users_with_roles(user_ids: set[int]) -> Iterable[tuple[User, Role | None]]:
    groups = User.groups.through.objects.filter(user_id=OuterRef("pk"))
    users = User.objects.filter(pk__in=user_ids, is_active=True).annotate(
        acts=Exists(groups.filter(group__name=Role.ADMIN)) | Q(is_superuser=True),
        sees=Exists(groups.filter(group__name=Role.MEMBER)),
    )
    for user in users:
        yield user, Role.ADMIN if user.acts else Role.MEMBER if user.sees else None


def _standing(login: Login, alive: set[str], users: dict[int, tuple[User, Role | None]]) -> Standing:
    user, role = users.get(login.user_id, (None, None))
    signed_in = user is not None and login.session_key in alive and user.get_session_auth_hash() == login.password_hash
    return Standing(signed_in, role)
