"""What every page knows."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from models_app.accounts.first_admin import uses_generated_password
from models_app.accounts.roles import is_admin
from models_app.alerts.summary import summary


def panel(request: HttpRequest) -> dict[str, Any]:
    """Whether this is the simulated fleet, what the reader may do and has neglected, and what is alarming."""
    user = getattr(request, "user", None)
    return {
        "demo": settings.DEMO,
        "is_admin": bool(user and is_admin(user)),
        "generated_password": bool(user and uses_generated_password(user)),
        "alarm": SimpleLazyObject(summary),
    }
