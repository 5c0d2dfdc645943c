"""What a runner writes: small synchronous units, each in one transaction and only while its lease is held."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from django.db import transaction
from django.utils import timezone

from models_app.inventory.observe import record_observation
from models_app.live import Topic, publish
from models_app.operations import states
from models_app.operations.intentions import intend
from models_app.operations.models import Operation, OperationLog, OperationStep
from models_app.operations.outcomes import LeaseLost, Outcome
from models_app.operations.reservations import Reservation
from models_app.operations.states import State

T = TypeVar("T")
StepState = OperationStep.State


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on an operation."""

    operation_id: int
    token: str


class Line(NamedTuple):
    """A line for an operation's log, of Berth's own or of a server's."""

    text: str
    source: str = ""


class News(NamedTuple):
    """What a runner has found out and not written yet: units of database work, and log lines."""

    units: Sequence[Callable[[], object]] = ()
    lines: Sequence[Line] = ()


def take(operation_id: int, queued: Operation | None = None) -> tuple[Operation, Lease, list[OperationStep]] | None:
    """The operation with its lease and the steps that an earlier runner wrote; ``None`` where there is nothing to do.

    ``queued`` is the operation where this process has just queued it.
    """
    operation = states.take_lease(operation_id, queued)
    if operation is None:
        return None
    steps = steps_of(operation) if operation.attempt > 1 else []
    return operation, Lease(operation_id, operation.lease_token), steps


def steps_of(operation: Operation) -> list[OperationStep]:
    """Its steps as they are written, in their order."""
    return list(operation.steps.all())


def as_owner(lease: Lease, news: News, unit: Callable[[], T], columns: Mapping[str, Any]) -> T:
    """Run ``unit`` in a transaction in which the operation is certainly ours; ``columns`` of it and ``news`` go along.

    Renews the lease. Raises ``LeaseLost``, and then nothing was written.
    """
    with transaction.atomic():
        mine = Operation.objects.filter(pk=lease.operation_id, state=State.RUNNING, lease_token=lease.token)
        if not mine.update(lease_expires_at=timezone.now() + states.LEASE_DURATION, **columns):
            raise LeaseLost
        _write_news(lease, news)
        result = unit()
        publish(Topic.OPERATION, lease.operation_id)
    return result


def add_steps(operation: Operation, steps: Sequence[OperationStep], first: int) -> list[OperationStep]:
    """Append steps to the operation's list, which has ``first`` already."""
    for position, step in enumerate(steps, first):
        step.operation, step.position = operation, position
    return list(OperationStep.objects.bulk_create(steps))


def start_step(step: OperationStep, baseline: Mapping[str, int]) -> None:
    """Written before the effect, so that a later runner knows that it may have happened; a new step with its row."""
    step.state = StepState.RUNNING
    step.baseline = dict(baseline)
    step.before_bytes = sum(baseline.values()) if baseline else None
    step.started_at = timezone.now()
    if step.pk:
        step.save(update_fields=["state", "baseline", "before_bytes", "started_at"])


def end_step(step: OperationStep, outcome: Outcome) -> None:
    """The step is done: its figures, to be written by ``settle_step``."""
    step.state = StepState.SKIPPED if outcome.skipped else StepState.DONE
    step.finished_at = timezone.now()
    step.after_bytes = sum(outcome.used.values()) if outcome.used else None
    step.verified_by = outcome.verified_by
    step.detail = " ".join(filter(None, (outcome.skipped, *outcome.notes)))


def settle_step(operation: Operation, step: OperationStep, outcome: Outcome) -> None:
    """Write an ended step, what is in memory now, and what Berth intends to be there."""
    step.save(update_fields=["state", "finished_at", "after_bytes", "verified_by", "detail"])
    if outcome.observation and outcome.observed_at:
        record_observation(operation.site, outcome.observation, outcome.observed_at, is_news=True)
    if not outcome.skipped:
        intend(operation, step, outcome)


def fail_step(step: OperationStep, why: str) -> None:
    """The step has failed."""
    step.state, step.finished_at, step.detail = StepState.FAILED, timezone.now(), why
    step.save(update_fields=["state", "finished_at", "detail"])


def finish(operation: Operation, lease: Lease, state: State, news: News, columns: Mapping[str, Any]) -> bool:
    """End the operation. ``True`` unless the lease was lost.

    Reservations go with a success that was measured; others stay until a later sample.
    """
    with transaction.atomic():
        if not states.transition(lease.operation_id, State.RUNNING, state, lease.token, **columns):
            return False
        if state is State.SUCCEEDED:
            Reservation.objects.filter(operation_id=lease.operation_id).delete()
        _write_news(lease, news)
        _wake_waiters(lease.operation_id)
        publish(Topic.INVENTORY, operation.site.pk)
    return True


def put_back(lease: Lease, due_at: datetime, news: News, columns: Mapping[str, Any]) -> None:
    """Back to the queue until ``due_at``; its steps stand, its reservations go."""
    with transaction.atomic():
        again = {"due_at": due_at, "enqueued_at": None} | dict(columns)
        if states.transition(lease.operation_id, State.RUNNING, State.QUEUED, lease.token, **again):
            Reservation.objects.filter(operation_id=lease.operation_id).delete()
            _write_news(lease, news)


def is_cancel_requested(lease: Lease) -> bool:
    """Whether somebody wants the operation to stop. Raises ``LeaseLost``."""
    mine = Operation.objects.filter(pk=lease.operation_id, state=State.RUNNING, lease_token=lease.token)
    row = mine.values_list("cancel_requested_at", flat=True)
    if not row:
        raise LeaseLost
    return row[0] is not None


def _write_news(lease: Lease, news: News) -> None:
    for unit in news.units:
        unit()
    OperationLog.objects.bulk_create(
        OperationLog(operation_id=lease.operation_id, text=line.text, source=line.source) for line in news.lines
    )


def _wake_waiters(operation_id: int) -> None:
    """Operations that wait for this one are due now."""
    Operation.objects.filter(waiting_for_id=operation_id, state=State.QUEUED).update(due_at=None)
