"""Who may open a page: members see, admins act. A view without one of these decorators fails a test."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase

from models_app.accounts.roles import is_admin, is_member

View = Callable[..., HttpResponseBase]


def member_required(view: View) -> View:
    """Let users in either role in; others get 403. Visitors were sent to the login page before."""
    return _guarded(view, is_member, "Your account has no role yet. Ask an admin for one.")


def admin_required(view: View) -> View:
    """Let admins in; others get 403."""
    return _guarded(view, is_admin, "Only admins can do this.")


def _guarded(view: View, may: Callable[[AbstractBaseUser | AnonymousUser], bool], refusal: str) -> View:
    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not may(request.user):
            raise PermissionDenied(refusal)
        return view(request, *args, **kwargs)

    guarded.role_checked = may.__name__  # type: ignore[attr-defined]  # read by the test that every page has a guard
    return guarded
