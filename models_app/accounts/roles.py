"""The two roles. Admins act and manage; members see. Both are Django groups; superusers count as admins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group, User
from django.http import HttpRequest

MOST_ADDRESS = 45
"""Characters of the longest IP address: IPv6 with IPv4 at its end. A proxy may pass on anything."""


class Role(StrEnum):
    """A user's role: the name of the Django group."""

    ADMIN = "admin"
    MEMBER = "member"


class Via(StrEnum):
    """The door an action came through."""

    WEB = "web"
    API = "api"
    COMMAND = "command"
    PANEL = "panel"
    """The panel itself: discovery, the reconciler."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, for operations and the audit trail; ``address`` is the client's, where a request asked for it."""

    user_id: int | None
    name: str
    via: Via
    address: str = ""


PANEL = Actor(None, "Berth", Via.PANEL)


def is_admin(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Whether the user may act. Asked of the database each time, so that a role taken away is gone at once."""
    return isinstance(user, User) and may_act(user, user.groups.values_list("name", flat=True))


def is_member(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Whether the user may see: any active user in one of the two roles."""
    return isinstance(user, User) and may_see(user, user.groups.values_list("name", flat=True))


def may_see(user: User, groups: Iterable[str | None]) -> bool:
    """``is_member`` for a user whose groups are known by name."""
    return user.is_active and (user.is_superuser or not frozenset(Role).isdisjoint(groups))


def may_act(user: User, groups: Iterable[str | None]) -> bool:
    """``is_admin`` for a user whose groups are known by name."""
    return user.is_active and (user.is_superuser or Role.ADMIN in groups)


def set_role(user: User, role: Role) -> None:
    """Give the user exactly this role; a superuser made a member stops being one."""
    user.groups.remove(*user.groups.filter(name__in=list(Role)))
    user.groups.add(Group.objects.get_or_create(name=role.value)[0])
    if role is Role.MEMBER and user.is_superuser:
        user.is_superuser = user.is_staff = False
        user.save(update_fields=["is_superuser", "is_staff"])


def actor(user: User, via: Via, address: str = "") -> Actor:
    """The actor that a signed-in user or the owner of a token is."""
    return Actor(user.pk, user.get_username(), via, address)


def client_address(request: HttpRequest) -> str:
    """Where a request came from: what a proxy of ``BERTH_PROXIES`` says, else the other end of the connection."""
    address: str = request.META.get("REMOTE_ADDR") or ""
    return address[:MOST_ADDRESS]
