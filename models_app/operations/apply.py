"""Asking for an apply: a typed list of loads and unloads becomes one operation with a graph of steps.

Each step is checked as far as no other step can change the answer; whether it fits is judged by measured memory when its
turn comes. The caller has checked that the actor is an admin.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.template.defaultfilters import pluralize
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.roles import Actor
from models_app.backends.protocol import LoadOptions
from models_app.inventory.models import Endpoint
from models_app.live import Topic, publish
from models_app.operations.apply_steps import ApplyStep
from models_app.operations.checks import canonical_name, check_lasting
from models_app.operations.models import Operation, OperationLog, OperationTarget
from models_app.operations.nudge import enqueue
from models_app.operations.refusals import RequestRefused
from models_app.operations.request import ANY, Request
from models_app.operations.submission import busy_with, first_of_key

Kind = Operation.Kind
MAX_STEPS = 500


@dataclass(frozen=True, slots=True)
class StepRequest:
    """One load or unload. ``after`` are the places in the list of the steps that must be done before, all of them earlier.

    ``gpus`` are the UUIDs of the GPUs that it changes; two steps that may change the same GPU never run at once. Without
    any it may be every GPU of the endpoint's host.
    """

    kind: Operation.Kind
    endpoint: Endpoint
    model: str
    options: LoadOptions = ANY
    after: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()


def request_apply(
    actor: Actor, title: str, steps: Sequence[StepRequest], *, confirmed: bool = False, idempotency_key: str = ""
) -> Operation:
    """Carry out the steps; the first failure stops what has not begun, and nothing is undone unasked.

    Returns the queued operation. Raises ``RequestRefused``, besides the codes of a load and an unload with
    ``invalid_steps`` (none, too many, or an impossible order) and ``apply_running``. ``confirmed`` accepts that pinned
    models are unloaded.
    """
    digest = _digest(title, steps)
    if first := first_of_key(actor, idempotency_key, digest):
        return first
    rows = [_checked(actor, step, confirmed=confirmed) for step in _counted(steps)]
    return create_apply(actor, title, rows, key=idempotency_key, digest=digest)


def _digest(title: str, steps: Sequence[StepRequest]) -> str:
    body = [[step.kind, step.endpoint.pk, step.model, step.options.given(), step.after] for step in steps]
    return hashlib.sha256(json.dumps([title, body], sort_keys=True).encode()).hexdigest()


def _counted(steps: Sequence[StepRequest]) -> Sequence[StepRequest]:
    if not steps:
        raise RequestRefused("invalid_steps", "There is nothing to do: everything is as it should be.")
    if len(steps) > MAX_STEPS:
        raise RequestRefused("invalid_steps", f"These are {len(steps)} steps; one apply takes at most {MAX_STEPS}.")
    for number, step in enumerate(steps):
        if step.kind not in (Kind.LOAD, Kind.UNLOAD) or any(not 0 <= place < number for place in step.after):
            raise RequestRefused("invalid_steps", f"Step {number + 1} is no load or unload that follows earlier steps.")
    return steps


def _checked(actor: Actor, step: StepRequest, *, confirmed: bool) -> ApplyStep:
    name = canonical_name(step.endpoint, step.model)
    check_lasting(Request(step.kind, actor, step.endpoint, name, step.options, confirmed=confirmed))
    return ApplyStep(
        kind=step.kind,
        endpoint=step.endpoint,
        model_name=name,
        options=step.options.given(),
        after=sorted(set(step.after)),
        gpus=list(step.gpus),
    )


def create_apply(
    actor: Actor,
    title: str,
    rows: Sequence[ApplyStep],
    *,
    key: str = "",
    digest: str = "",
    follows: Operation | None = None,
    rolls_back: bool = False,
) -> Operation:
    """Queue an apply of steps that are not saved yet, in their order. Raises ``RequestRefused`` for what is in the way."""
    keys = list(dict.fromkeys((row.endpoint_id, row.model_name) for row in rows))
    if refusal := _in_the_way(keys):
        raise refusal
    try:
        return _write(actor, title, rows, keys, key, digest, follows, rolls_back)
    except IntegrityError as error:
        if first := first_of_key(actor, key, digest):
            return first
        raise _in_the_way(keys) or busy_with(None) from error


def _in_the_way(keys: Iterable[tuple[int, str]]) -> RequestRefused | None:
    other = Operation.objects.filter(kind=Kind.APPLY, state__in=Operation.ACTIVE).first()
    if other is not None:
        message = f"Operation {other.pk} of {other.requested_by} ({other}) is under way; one apply runs at a time."
        return RequestRefused("apply_running", message, status=409, operation=other)
    wanted = set(keys)
    for target in OperationTarget.objects.filter(active=True).select_related("operation__endpoint"):
        if (target.endpoint_id, target.model_name) in wanted:
            return busy_with(target.operation)
    return None


@transaction.atomic
def _write(
    actor: Actor,
    title: str,
    rows: Sequence[ApplyStep],
    keys: Sequence[tuple[int, str]],
    key: str,
    digest: str,
    follows: Operation | None,
    rolls_back: bool,
) -> Operation:
    operation = Operation.objects.create(
        kind=Kind.APPLY,
        model_name=title[:255],
        options={"rolls_back": True} if rolls_back else {},
        user_id=actor.user_id,
        requested_by=actor.name,
        via=actor.via.value,
        idempotency_key=key,
        request_digest=digest,
        enqueued_at=timezone.now(),
        phase="queued",
        follows=follows,
    )
    OperationTarget.objects.bulk_create(
        OperationTarget(operation=operation, endpoint_id=endpoint, model_name=name) for endpoint, name in keys
    )
    for position, row in enumerate(rows):
        row.operation, row.position = operation, position
    ApplyStep.objects.bulk_create(rows)
    why = f", after operation {follows.pk}" if follows else ""
    steps = f"{len(rows)} step{pluralize(len(rows))}"
    OperationLog.objects.create(operation=operation, text=f"Asked for by {actor.name}{why}: {steps}.")
    audit.record(
        actor, "operation.apply", operation, steps=[str(row) for row in rows], follows=follows.pk if follows else None
    )
    publish(Topic.OPERATION, operation.pk)
    transaction.on_commit(lambda: enqueue(operation.pk), robust=True)
    return operation
