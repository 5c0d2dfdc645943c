"""The states of an operation and the only ways between them.

    from      to         when
    queued    running    a runner takes the lease
    queued    cancelled  it was cancelled before a runner took it
    queued    failed     it can never be taken (its worker was lost too often)
    running   running    another runner takes the lease over, because the old one expired
    running   queued     it waits for a GPU, or for its next attempt
    running   succeeded  every step is done and measured
    running   failed     a step failed, and what was done has been undone
    running   cancelled  it was cancelled, and what was done has been undone

Every change is one guarded UPDATE: it happens only if the row is still in the state, and under the lease, that the writer
believes in. An apply has no lease: its steps are operations that have one, and it goes on in a transaction when one ends.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from models_app.inventory.routes import AGENT
from models_app.live import Topic, publish
from models_app.operations.ends import tell_end
from models_app.operations.models import Operation, OperationTarget

State = Operation.State

TRANSITIONS = frozenset(
    {
        (State.QUEUED, State.RUNNING),
        (State.QUEUED, State.CANCELLED),
        (State.QUEUED, State.FAILED),
        (State.RUNNING, State.RUNNING),
        (State.RUNNING, State.QUEUED),
        (State.RUNNING, State.SUCCEEDED),
        (State.RUNNING, State.FAILED),
        (State.RUNNING, State.CANCELLED),
    }
)
ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
LEASE_DURATION = timedelta(seconds=15)
AGENTS_RETURN = timedelta(seconds=30)
"""Within this time after a restart of the panel an agent has connected again."""


class IllegalTransition(ValueError):
    """The table has no such transition: a programming error."""


def transition(operation_id: int, old: State, new: State, lease_token: str, /, **fields: Any) -> bool:
    """Move an operation from ``old`` to ``new``, if it still is in ``old`` under ``lease_token`` (empty while queued).

    ``fields`` are further columns to write. An end lets go of the targets and the lease. Returns whether it happened.
    """
    if (old, new) not in TRANSITIONS:
        raise IllegalTransition(f"{old} to {new}")
    if new in ENDED:
        fields |= {"finished_at": timezone.now(), "waiting_for": None, "due_at": None}
    if new is not State.RUNNING:
        fields |= {"lease_token": "", "lease_expires_at": None}
    with transaction.atomic():
        rows = Operation.objects.filter(pk=operation_id, state=old, lease_token=lease_token)
        if not rows.update(state=new, **fields):
            return False
        if new in ENDED:
            OperationTarget.objects.filter(operation_id=operation_id).update(active=False)
            transaction.on_commit(lambda: tell_end(operation_id), robust=True)
        publish(Topic.OPERATION, operation_id)
    return True


def take_lease(operation_id: int, queued: Operation | None = None) -> Operation | None:
    """A due operation, or a running one whose lease has expired, under a new lease; ``None`` where there is none to take.

    It comes with its endpoint and host, as the row is now: until the lease is written nobody else changes it. One that this
    process has just ``queued`` is read only if its row is that no more.
    """
    if queued is not None and (taken := _take(queued, timezone.now())):
        return taken
    with transaction.atomic():
        rows = Operation.objects.select_for_update(of=("self",)).select_related("endpoint__host")
        operation = rows.filter(pk=operation_id).order_by().first()
        now = timezone.now()
        if operation is None or operation.kind == Operation.Kind.APPLY or not _is_due(operation, now):
            return None
        return _take(operation, now)


def _take(operation: Operation, now: datetime) -> Operation | None:
    taken = {
        "lease_token": str(uuid.uuid4()),
        "lease_expires_at": now + LEASE_DURATION,
        "started_at": operation.started_at or now,
        "attempt": operation.attempt + 1,
        "waiting_for": None,
    }
    if not transition(operation.pk, State(operation.state), State.RUNNING, operation.lease_token, **taken):
        return None
    for name, value in taken.items():
        setattr(operation, name, value)
    operation.state = State.RUNNING
    return operation


def renew_lease(operation_id: int, lease_token: str) -> bool:
    """Whether the lease is still held; if so it lasts ``LEASE_DURATION`` from now."""
    mine = Operation.objects.filter(pk=operation_id, state=State.RUNNING, lease_token=lease_token)
    return bool(mine.update(lease_expires_at=timezone.now() + LEASE_DURATION))


def expire_leases() -> None:
    """Let what was running go on at once, and tell workers of it again. Only for who knows that no worker is alive.

    What runs behind an agent goes on once that had the time to come back.
    """
    now = timezone.now()
    running = Operation.objects.filter(state=State.RUNNING).exclude(kind=Operation.Kind.APPLY)
    behind_agents = Q(endpoint__url__startswith=f"{AGENT}://")
    running.filter(behind_agents).update(lease_expires_at=now + AGENTS_RETURN, enqueued_at=None)
    running.exclude(behind_agents).update(lease_expires_at=now, enqueued_at=None)
    Operation.objects.filter(state=State.QUEUED).update(enqueued_at=None)


def _is_due(operation: Operation, now: datetime) -> bool:
    if operation.state == State.QUEUED:
        return operation.due_at is None or operation.due_at <= now
    expires_at = operation.lease_expires_at
    return operation.state == State.RUNNING and expires_at is not None and expires_at < now
