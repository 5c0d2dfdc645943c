"""What removing a host or an endpoint costs, and who may object."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import Model
from django.db.models.deletion import Collector

from models_app.inventory.errors import InventoryRefused
from models_app.inventory.models import Endpoint

Guard = Callable[[Endpoint], str]
"""Why an endpoint may not go now, in a sentence; empty where nothing speaks against it."""


def losses(subject: Model) -> dict[str, int]:
    """How many rows of each kind, by its plural name, go with a row; the row itself is not counted."""
    collector = Collector(using="default", origin=subject)
    collector.collect([subject])
    counts = {model: len(rows) for model, rows in collector.data.items() if model is not type(subject)}
    for queryset in collector.fast_deletes:
        counts[queryset.model] = counts.get(queryset.model, 0) + queryset.count()
    return {str(model._meta.verbose_name_plural): count for model, count in counts.items() if count}


def check_guard(endpoint: Endpoint, guard: Guard) -> None:
    """Raises ``InventoryRefused`` where the guard objects."""
    if objection := guard(endpoint):
        raise InventoryRefused("endpoint_in_use", objection, hint="Wait for its end, or cancel it.")


def check_unmanaged(endpoint: Endpoint) -> None:
    """Raises ``InventoryRefused`` for a server that Berth starts itself: it would run on with nobody to stop it."""
    if hasattr(endpoint, "managed"):
        message = f"{endpoint.name} is a server that Berth runs."
        raise InventoryRefused("managed_endpoint", message, hint="Remove it as a managed server, which stops it first.")
