"""From a checked request to rows, in one transaction, and a message to a worker once that has committed."""

from __future__ import annotations

from dataclasses import replace

from django.db import IntegrityError, transaction
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.roles import Actor
from models_app.backends.protocol import Capability, LoadOptions
from models_app.live import Topic, publish
from models_app.operations.apply_steps import ApplyStep
from models_app.operations.checks import canonical_name, check
from models_app.operations.handover import hand_over
from models_app.operations.load_checks import Checked
from models_app.operations.models import Operation, OperationLog, OperationTarget
from models_app.operations.nudge import enqueue
from models_app.operations.options import FOREVER_SECONDS
from models_app.operations.refusals import RequestRefused
from models_app.operations.request import Request
from models_app.operations.urgency import urgent


class StepTaken(Exception):
    """The step of an apply has its operation already, or is no longer to be carried out."""


REFUSED = "operation.refused"


def submit(request: Request) -> Operation:
    """Check the request, make its rows in one transaction, and hand the queued operation to a worker.

    The same request under the same idempotency key returns the first operation. Raises ``RequestRefused``, whose docstring
    lists the codes, and ``StepTaken`` where the operation of a step is queued already.
    """
    if request.kind is Operation.Kind.APPLY:
        raise RequestRefused("invalid_kind", "An apply is asked for by applying a plan.", field="kind")
    with urgent(request.endpoint):
        return _submit(request)


def _submit(request: Request) -> Operation:
    request = replace(request, model=canonical_name(request.endpoint, request.model), options=_completed(request))
    if first := first_of_key(request.actor, request.idempotency_key, request.digest()):
        return first
    checked = _checked(request)
    try:
        return _create(request, checked)
    except IntegrityError as error:
        if first := first_of_key(request.actor, request.idempotency_key, request.digest()):
            return first
        raise busy_with(_in_the_way(request, checked)) from error


def _checked(request: Request) -> Checked:
    """A load for which there is no room leaves an audit entry: it may explain what is wrong elsewhere."""
    try:
        return check(request)
    except RequestRefused as refused:
        if refused.code == "does_not_fit":
            audit.record(request.actor, REFUSED, request.endpoint, model=request.model, code=refused.code)
        raise


def _completed(request: Request) -> LoadOptions:
    """A pinned model is kept for ever where nothing else was said and the endpoint can do so."""
    options = request.options
    can_keep = Capability.KEEP_ALIVE in request.endpoint.capabilities
    if options.pinned and options.keep_alive_seconds is None and can_keep:
        return replace(options, keep_alive_seconds=FOREVER_SECONDS)
    return options


def first_of_key(actor: Actor, key: str, digest: str) -> Operation | None:
    """The operation that the same request under the same key became. Raises ``RequestRefused`` for another request."""
    if not key or actor.user_id is None:
        return None
    first = Operation.objects.filter(user_id=actor.user_id, idempotency_key=key).select_related("endpoint").first()
    if first and first.request_digest != digest:
        message = f"The key {key} was used for another request, operation {first.pk}."
        raise RequestRefused("idempotency_conflict", message, field="Idempotency-Key", operation=first)
    return first


def _in_the_way(request: Request, checked: Checked) -> Operation | None:
    """Another operation on one of the models; what a step of an apply touches, its apply holds."""
    if request.step_id:
        return None
    names = [request.model, *checked.unload]
    targets = OperationTarget.objects.filter(endpoint=request.endpoint, model_name__in=names, active=True)
    target = targets.select_related("operation__endpoint").first()
    return target.operation if target else None


def busy_with(operation: Operation | None) -> RequestRefused:
    """The refusal while another operation, if it is still to be seen, holds the model."""
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
        OperationTarget(operation=operation, endpoint=request.endpoint, model_name=name, active=not request.step_id)
        for name in operation.model_names
    )
    if request.step_id:
        _take_step(request.step_id, operation)
    _tell(request, operation, checked)
    transaction.on_commit(lambda: _pass_on(operation, checked), robust=True)
    return operation


def _pass_on(operation: Operation, checked: Checked) -> None:
    if checked.expected:
        hand_over(operation, checked.expected, checked.sample)
    enqueue(operation.pk)


def _take_step(step_id: int, operation: Operation) -> None:
    """A step has one operation: of two workers that begin it, the second one's request is undone."""
    if not ApplyStep.objects.filter(pk=step_id, state=ApplyStep.State.RUNNING, part=None).update(part=operation):
        raise StepTaken


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
