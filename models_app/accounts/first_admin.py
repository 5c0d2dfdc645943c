"""The first admin, and the way back in when a password is lost."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.db import IntegrityError, transaction

from models_app.accounts import audit
from models_app.accounts.roles import Actor, Role, Via, set_role

_COMMAND = Actor(None, "command line", Via.COMMAND)


@dataclass(frozen=True, slots=True)
class FirstAdmin:
    """The admin just made. ``password`` is shown once; it is empty when the environment gave it."""

    name: str
    password: str


def ensure_first_admin() -> FirstAdmin | None:
    """Create the admin when there is no user at all; ``None`` when somebody is there already."""
    if User.objects.exists():
        return None
    name, generated = settings.ADMIN_USER, "" if settings.ADMIN_PASSWORD else new_password()
    try:
        with transaction.atomic():
            user = User.objects.create_user(name, password=settings.ADMIN_PASSWORD or generated)
            set_role(user, Role.ADMIN)
            audit.record(_COMMAND, "account.first_admin", user)
    except IntegrityError:  # another process was quicker
        return None
    if generated:
        _remember_generated(user)
    return FirstAdmin(name, generated)


def reset_admin(name: str = "") -> FirstAdmin:
    """Give the named user (``settings.ADMIN_USER`` by default) a new generated password, the admin role and access."""
    with transaction.atomic():
        user = User.objects.get_or_create(username=name or settings.ADMIN_USER)[0]
        password = new_password()
        user.set_password(password)
        user.is_active = True
        user.save(update_fields=["password", "is_active"])
        set_role(user, Role.ADMIN)
        audit.record(_COMMAND, "account.reset_password", user)
    _remember_generated(user)
    return FirstAdmin(user.get_username(), password)


def uses_generated_password(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Whether the user still signs in with the password that was generated: any change of it clears this."""
    if not isinstance(user, User):
        return False
    try:
        return _flag_path().read_text() == _fingerprint(user)
    except OSError:
        return False


def new_password() -> str:
    """A password of 120 random bits, for one who is to choose their own."""
    return secrets.token_urlsafe(15)


def _remember_generated(user: User) -> None:
    _flag_path().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _flag_path().write_text(_fingerprint(user))


def _fingerprint(user: User) -> str:
    return hashlib.sha256(f"{user.pk}:{user.password}".encode()).hexdigest()


def _flag_path() -> Path:
    return settings.DATA_DIR / "generated-password"
