"""People and their roles. Every change leaves an audit row and makes open sockets ask again whether they may stay.

The caller has checked that the actor is an admin, or the user that changes their own password. No password is kept or
logged: a generated one is returned once.
"""

from __future__ import annotations

from django.contrib.auth.models import Group, User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from models_app.accounts import audit
from models_app.accounts.first_admin import new_password
from models_app.accounts.roles import Actor, Role, set_role
from models_app.live import Topic, publish


class AccountRefused(ValueError):
    """An account cannot be changed as asked. ``code`` is stable, ``field`` names the input at fault, or is empty."""

    def __init__(self, code: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


def active_admins() -> QuerySet[User]:
    """Every user who may act now."""
    may_act = Q(is_superuser=True) | Q(groups__name=Role.ADMIN)
    return User.objects.filter(may_act, is_active=True).distinct()


def add_user(actor: Actor, name: str, role: Role, password: str = "") -> tuple[User, str]:
    """A new user and the password that was generated for them, empty where one was given.

    Raises ``AccountRefused`` (``name_taken``, ``weak_password``).
    """
    generated = "" if password else new_password()
    user = User(username=name)
    if password:
        _check_password(user, password, "password")
    if User.objects.filter(username__iexact=name).exists():
        raise _name_taken(name)
    user.set_password(password or generated)
    try:
        with transaction.atomic():
            user.save(force_insert=True)
            set_role(user, role)
            audit.record(actor, "account.create", user, role=role.value)
            publish(Topic.ACCOUNTS, user.pk)
    except IntegrityError:
        raise _name_taken(name) from None
    return user, generated


def change_role(actor: Actor, user: User, role: Role) -> None:
    """Give the user this role. Raises ``AccountRefused`` (``last_admin``)."""
    with transaction.atomic():
        if role is not Role.ADMIN:
            _keep_an_admin(user)
        set_role(user, role)
        audit.record(actor, "account.change_role", user, role=role.value)
        publish(Topic.ACCOUNTS, user.pk)


def set_active(actor: Actor, user: User, active: bool) -> None:
    """Let the user in, or no longer: sessions, sockets and tokens end at once.

    Raises ``AccountRefused`` (``last_admin``).
    """
    with transaction.atomic():
        if not active:
            _keep_an_admin(user)
        user.is_active = active
        user.save(update_fields=["is_active"])
        audit.record(actor, "account.reactivate" if active else "account.deactivate", user)
        publish(Topic.ACCOUNTS, user.pk)


def reset_password(actor: Actor, user: User) -> str:
    """A new generated password, returned once; the user's sessions end."""
    password = new_password()
    _set_password(actor, user, password, "account.reset_password")
    return password


def change_password(actor: Actor, user: User, current: str, new: str) -> None:
    """Replace the user's own password. Raises ``AccountRefused`` (``wrong_password``, ``weak_password``)."""
    if not user.check_password(current):
        raise AccountRefused("wrong_password", "This is not your current password.", "current")
    _check_password(user, new, "new")
    _set_password(actor, user, new, "account.change_password")


def _set_password(actor: Actor, user: User, password: str, action: str) -> None:
    with transaction.atomic():
        user.set_password(password)
        user.save(update_fields=["password"])
        audit.record(actor, action, user)
        publish(Topic.ACCOUNTS, user.pk)


def _check_password(user: User, password: str, field: str) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise AccountRefused("weak_password", " ".join(error.messages), field) from None


def _name_taken(name: str) -> AccountRefused:
    return AccountRefused("name_taken", f"There is a user “{name}” already.", "username")


def _keep_an_admin(user: User) -> None:
    """Raises ``AccountRefused`` if nobody else may act. The lock makes two admins who remove each other take turns."""
    Group.objects.select_for_update().filter(name=Role.ADMIN).first()
    if not active_admins().exclude(pk=user.pk).exists():
        raise AccountRefused("last_admin", f"{user.get_username()} is the only active admin. Make somebody else one first.")
