"""The one door to operations: a request is checked, becomes rows in one transaction, and is handed to a worker.

Every function returns the queued ``Operation`` and raises ``RequestRefused``, whose docstring lists the codes. The same
``idempotency_key`` with the same request returns the first operation. The caller has checked that the actor is an admin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from django.db import IntegrityError, transaction
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.roles import Actor
from models_app.backends.protocol import Capability, LoadOptions
from models_app.inventory.models import Endpoint, LoadedModel, Residency
from models_app.live import Topic, publish
from models_app.operations import states
from models_app.operations.checks import Checked, canonical_name, check
from models_app.operations.models import Operation, OperationLog, OperationTarget
from models_app.operations.options import FOREVER_SECONDS
from models_app.operations.refusals import RequestRefused
from models_app.operations.request import ANY, Request
from models_app.operations.tasks import enqueue

__all__ = [
    "Request",
    "RequestRefused",
    "request_cancel",
    "request_delete",
    "request_load",
    "request_pull",
    "request_set_keep_alive",
    "request_swap",
    "request_unload",
    "set_pinned",
    "submit",
]


def submit(request: Request) -> Operation:
    """Check the request and queue its operation."""
    request = replace(request, model=canonical_name(request.endpoint, request.model), options=_completed(request))
    if first := _first_of_key(request):
        return first
    checked = check(request)
    if busy := _in_the_way(request, checked):
        raise _busy(busy)
    try:
        return _create(request, checked)
    except IntegrityError as error:
        if first := _first_of_key(request):
            return first
        raise _busy(_in_the_way(request, checked)) from error


def _completed(request: Request) -> LoadOptions:
    """A pinned model is kept for ever where nothing else was said and the endpoint can do so."""
    options = request.options
    can_keep = Capability.KEEP_ALIVE in request.endpoint.capabilities
    if options.pinned and options.keep_alive_seconds is None and can_keep:
        return replace(options, keep_alive_seconds=FOREVER_SECONDS)
    return options


def _first_of_key(request: Request) -> Operation | None:
    if not request.idempotency_key or request.actor.user_id is None:
        return None
    mine = Operation.objects.filter(user_id=request.actor.user_id, idempotency_key=request.idempotency_key)
    first = mine.select_related("endpoint").first()
    if first and first.request_digest != request.digest():
        message = f"The key {request.idempotency_key} was used for another request, operation {first.pk}."
        raise RequestRefused("idempotency_conflict", message, field="Idempotency-Key", operation=first)
    return first


def _in_the_way(request: Request, checked: Checked) -> Operation | None:
    names = [request.model, *checked.unload]
    targets = OperationTarget.objects.filter(endpoint=request.endpoint, model_name__in=names, active=True)
    target = targets.select_related("operation__endpoint").first()
    return target.operation if target else None


def _busy(operation: Operation | None) -> RequestRefused:
    what = f"Operation {operation.pk} of {operation.requested_by} ({operation})" if operation else "Another operation"
    message = f"{what} is at work on this model. Wait for it, or cancel it."
    return RequestRefused("target_busy", message, field="model", status=409, operation=operation)


@transaction.atomic
def _create(request: Request, checked: Checked) -> Operation:
    operation = Operation.objects.create(
        kind=request.kind,
        endpoint=request.endpoint,
        model_name=request.model,
        options=request.options.given(),
        unload=checked.unload,
        load_anyway=request.load_anyway,
        reload=request.reload,
        user_id=request.actor.user_id,
        requested_by=request.actor.name,
        via=request.actor.via.value,
        idempotency_key=request.idempotency_key,
        request_digest=request.digest(),
        enqueued_at=timezone.now(),
        phase="queued",
        estimate=checked.preview.as_row() if checked.preview else {},
        progress_total_bytes=checked.preview.needed_bytes if checked.preview else None,
    )
    OperationTarget.objects.bulk_create(
        OperationTarget(operation=operation, endpoint=request.endpoint, model_name=name)
        for name in dict.fromkeys([request.model, *checked.unload])
    )
    _tell(request, operation, checked)
    transaction.on_commit(lambda: enqueue(operation.pk))
    return operation


def _tell(request: Request, operation: Operation, checked: Checked) -> None:
    """The log's first lines, the audit entry, and the event."""
    lines = [f"Asked for by {request.actor.name}."]
    if checked.preview:
        lines.append(checked.preview.sentence + (" Loaded all the same." if request.load_anyway else ""))
    OperationLog.objects.bulk_create(OperationLog(operation=operation, text=line) for line in lines)
    audit.record(
        request.actor,
        f"operation.{request.kind}",
        operation,
        endpoint=request.endpoint.name,
        model=request.model,
        options=request.options.given(),
        unload=checked.unload,
        load_anyway=request.load_anyway,
        reload=request.reload,
        confirmed=request.confirmed,
    )
    publish(Topic.OPERATION, operation.pk)


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
