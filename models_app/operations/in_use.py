"""What speaks against removing an endpoint."""

from __future__ import annotations

from django.db.models import Q

from models_app.inventory.models import Endpoint
from models_app.operations.models import Operation


def in_use(endpoint: Endpoint) -> str:
    """Why an endpoint may not be removed now: an operation works on it. Empty where nothing speaks against it."""
    touches = Q(endpoint=endpoint) | Q(apply_steps__endpoint=endpoint)
    active = Operation.objects.filter(touches, state__in=Operation.ACTIVE).first()
    return f"Operation {active.pk} ({active}) is at work on it." if active else ""
