"""``manage.py token``: API tokens from the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from models_app.accounts.models import ApiToken
from models_app.accounts.roles import Actor, Via
from models_app.accounts.tokens import TokenRefused, create_token, revoke_token, unrevoked_tokens


class Command(BaseCommand):
    help = "Create, list or revoke API tokens. `create` prints the token, alone, once."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="print a new token")
        create.add_argument("name")
        create.add_argument("--scope", choices=ApiToken.Scope.values, default=ApiToken.Scope.READ.value)
        create.add_argument("--user", help="its owner; the first admin when left out")
        create.add_argument("--days", type=_days, help="days until it expires; never when left out")
        verbs.add_parser("list", help="name, prefix, scope, owner, state")
        verbs.add_parser("revoke", help="end a token").add_argument("prefix", help="how it begins, or the whole of it")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        verbs: dict[str, Callable[..., None]] = {"create": self._create, "list": self._list, "revoke": self._revoke}
        verbs[verb](**options)

    def _create(self, *, name: str, scope: str, user: str | None, days: int | None, **_: Any) -> None:
        expires_at = timezone.now() + timedelta(days=days) if days else None
        owner = _owner(user)
        try:
            secret = create_token(_actor(), owner, name, ApiToken.Scope(scope), expires_at)[1]
        except TokenRefused as error:
            raise CommandError(str(error)) from None
        self.stdout.write(secret)

    def _list(self, **_: Any) -> None:
        for row in ApiToken.objects.select_related("user"):
            is_over = row.expires_at is not None and row.expires_at <= timezone.now()
            state = "revoked" if row.revoked_at else "expired" if is_over else "active"
            self.stdout.write(f"{row.prefix}…  {row.scope:<5}  {state:<7}  {row.user.get_username()}  {row.name}")

    def _revoke(self, *, prefix: str, **_: Any) -> None:
        found = list(unrevoked_tokens(prefix.rstrip("…"))[:2])
        if len(found) != 1:
            raise CommandError(f"{'No' if not found else 'More than one'} active token begins with {prefix[:12]!r}.")
        revoke_token(_actor(), found[0])
        self.stdout.write(f"Revoked {found[0]}.")


def _days(value: str) -> int:
    days = int(value)
    if not 1 <= days <= 3650:
        raise argparse.ArgumentTypeError("1 to 3650 days")
    return days


def _actor() -> Actor:
    return Actor(None, "command line", Via.COMMAND)


def _owner(username: str | None) -> User:
    if username:
        owner = User.objects.filter(username=username, is_active=True).first()
        if owner is None:
            raise CommandError(f"There is no active user {username!r}.")
        return owner
    admins = User.objects.filter(is_active=True).filter(groups__name="admin") | User.objects.filter(
        is_active=True, is_superuser=True
    )
    first = admins.order_by("pk").first()
    if first is None:
        raise CommandError("There is no admin yet: `manage.py resetadmin` makes one.")
    return first
