"""The one door to operations: a ``Request`` is submitted, and what came of it is cancelled or pinned here.

The caller has checked that the actor is an admin.
"""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.roles import Actor
from models_app.inventory.models import Endpoint, LoadedModel, Residency
from models_app.live import Topic, publish
from models_app.operations import states
from models_app.operations.checks import canonical_name
from models_app.operations.models import Operation, OperationLog
from models_app.operations.nudge import enqueue
from models_app.operations.refusals import RequestRefused
from models_app.operations.request import Request
from models_app.operations.submission import submit

__all__ = [
    "Request",
    "RequestRefused",
    "request_cancel",
    "set_pinned",
    "submit",
]


def request_cancel(actor: Actor, operation: Operation) -> Operation:
    """Cancel a queued operation at once, a running one at its next look; twice is once.

    Raises ``RequestRefused`` (``already_ended``).
    """
    with transaction.atomic():
        active = Operation.objects.filter(pk=operation.pk, state__in=Operation.ACTIVE)
        if active.filter(cancel_requested_at=None).update(cancel_requested_at=timezone.now()):
            audit.record(actor, "operation.cancel", operation)
            OperationLog.objects.create(operation=operation, text=f"Cancel asked for by {actor.name}.")
            publish(Topic.OPERATION, operation.pk)
            transaction.on_commit(lambda: enqueue(operation.pk), robust=True)
        states.transition(operation.pk, states.State.QUEUED, states.State.CANCELLED, "", phase="cancelled")
    operation.refresh_from_db()
    if not operation.is_active and operation.cancel_requested_at is None:
        message = f"Operation {operation.pk} has ended: {operation.get_state_display().lower()}."
        raise RequestRefused("already_ended", message, status=409, operation=operation)
    return operation


@transaction.atomic
def set_pinned(actor: Actor, endpoint: Endpoint, model: str, pinned: bool) -> None:
    """Pin or unpin a model that Berth loaded. Raises ``RequestRefused`` (``not_loaded``, ``foreign_model``)."""
    name = canonical_name(endpoint, model)
    loaded = LoadedModel.objects.filter(endpoint=endpoint, name=name).first()
    if loaded is None:
        raise RequestRefused("not_loaded", f"{name} is not loaded on {endpoint.name}.", field="model", status=409)
    if not Residency.objects.filter(endpoint=endpoint, name=name, lost_at=None).update(pinned=pinned):
        message = f"{name} was loaded by another client; only models that Berth loaded can be pinned."
        raise RequestRefused("foreign_model", message, status=409, loaded=loaded)
    audit.record(actor, "model.pin" if pinned else "model.unpin", loaded)
    publish(Topic.INVENTORY, endpoint.pk)
