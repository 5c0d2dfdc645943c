"""What every page knows."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from models_app.accounts.roles import is_admin


def panel(request: HttpRequest) -> dict[str, Any]:
    """Whether this is the simulated fleet, and whether the reader may act."""
    user = getattr(request, "user", None)
    return {"demo": settings.DEMO, "is_admin": bool(user and is_admin(user))}
