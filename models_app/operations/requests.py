"""The one door to operations: a request is checked, becomes rows in one transaction, and is handed to a worker.

Every function returns the queued ``Operation`` and raises ``RequestRefused``, whose docstring lists the codes. The same
``idempotency_key`` with the same request returns the first operation. The caller has checked that the actor is an admin.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.roles import Actor
from models_app.backends.protocol import LoadOptions
from models_app.inventory.models import Endpoint, LoadedModel, Residency
from models_app.live import Topic, publish
from models_app.operations import states
from models_app.operations.checks import canonical_name
from models_app.operations.models import Operation, OperationLog
from models_app.operations.nudge import enqueue
from models_app.operations.refusals import RequestRefused
from models_app.operations.request import ANY, Request
from models_app.operations.submission import submit

__all__ = [
    "Request",
    "RequestRefused",
    "request_cancel",
    "request_delete",
    "request_load",
    "request_measure_speed",
    "request_pull",
    "request_restart",
    "request_set_keep_alive",
    "request_swap",
    "request_unload",
    "set_pinned",
    "submit",
]


def request_load(
    actor: Actor,
    endpoint: Endpoint,
    model: str,
    options: LoadOptions = ANY,
    *,
    load_anyway: bool = False,
    reload: bool = False,
    idempotency_key: str = "",
) -> Operation:
    """Load a model."""
    return submit(
        Request(
            Operation.Kind.LOAD,
            actor,
            endpoint,
            model,
            options,
            load_anyway=load_anyway,
            reload=reload,
            idempotency_key=idempotency_key,
        )
    )


def request_unload(
    actor: Actor, endpoint: Endpoint, model: str, *, confirmed: bool = False, idempotency_key: str = ""
) -> Operation:
    """Take a model out of memory; a pinned one only when ``confirmed``."""
    kind = Operation.Kind.UNLOAD
    return submit(Request(kind, actor, endpoint, model, confirmed=confirmed, idempotency_key=idempotency_key))


def request_restart(
    actor: Actor,
    endpoint: Endpoint,
    model: str,
    *,
    load_anyway: bool = False,
    confirmed: bool = False,
    idempotency_key: str = "",
) -> Operation:
    """Stop the server of a loaded model and start it again with the settings that it has now."""
    return submit(
        Request(
            Operation.Kind.RESTART,
            actor,
            endpoint,
            model,
            load_anyway=load_anyway,
            confirmed=confirmed,
            idempotency_key=idempotency_key,
        )
    )


def request_swap(
    actor: Actor,
    endpoint: Endpoint,
    model: str,
    unload: Sequence[int],
    options: LoadOptions = ANY,
    *,
    load_anyway: bool = False,
    confirmed: bool = False,
    idempotency_key: str = "",
) -> Operation:
    """Unload the loaded models with the ids ``unload``, then load ``model``; a failure puts the old ones back."""
    return submit(
        Request(
            Operation.Kind.SWAP,
            actor,
            endpoint,
            model,
            options,
            tuple(unload),
            load_anyway=load_anyway,
            confirmed=confirmed,
            idempotency_key=idempotency_key,
        )
    )


def request_pull(actor: Actor, endpoint: Endpoint, model: str, *, idempotency_key: str = "") -> Operation:
    """Download a model to the endpoint."""
    return submit(Request(Operation.Kind.PULL, actor, endpoint, model, idempotency_key=idempotency_key))


def request_delete(
    actor: Actor, endpoint: Endpoint, model: str, *, confirmed: bool = False, idempotency_key: str = ""
) -> Operation:
    """Remove an installed model's files; one that is loaded is unloaded first, and only when ``confirmed``."""
    kind = Operation.Kind.DELETE
    return submit(Request(kind, actor, endpoint, model, confirmed=confirmed, idempotency_key=idempotency_key))


def request_set_keep_alive(
    actor: Actor,
    endpoint: Endpoint,
    model: str,
    keep_alive_seconds: int,
    *,
    confirmed: bool = False,
    idempotency_key: str = "",
) -> Operation:
    """Change how long an idle model stays (negative: for ever); a model of another client only when ``confirmed``."""
    options = LoadOptions(keep_alive_seconds=keep_alive_seconds)
    kind = Operation.Kind.SET_KEEP_ALIVE
    return submit(Request(kind, actor, endpoint, model, options, confirmed=confirmed, idempotency_key=idempotency_key))


def request_measure_speed(actor: Actor, endpoint: Endpoint, model: str, *, idempotency_key: str = "") -> Operation:
    """Have a loaded model write a few dozen tokens, and keep how fast it did."""
    return submit(Request(Operation.Kind.MEASURE_SPEED, actor, endpoint, model, idempotency_key=idempotency_key))


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
            transaction.on_commit(lambda: enqueue(operation.pk))
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
