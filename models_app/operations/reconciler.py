"""The one timer of the panel: what a lost queue or a dead worker left behind goes on, and what changed unasked is noticed.

Any number may run; the lease on the reconciler's heartbeat lets one of them work.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from asgiref.sync import sync_to_async
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.models import AuditEntry
from models_app.accounts.roles import PANEL
from models_app.catalog.models import Installation
from models_app.inventory.models import Residency
from models_app.live import Topic, publish
from models_app.operations import heartbeats, states
from models_app.operations.models import Operation, OperationLog, OperationTarget
from models_app.operations.nudge import enqueue, enqueue_beat
from models_app.operations.reservations import Reservation
from models_app.operations.runner import MAX_ATTEMPTS
from models_app.operations.states import State

TELL_AGAIN = timedelta(seconds=5)
"""A worker that was told of an operation and did not take it is told again after this."""
RELEASE_AFTER = timedelta(seconds=30)
"""Reservations of an ended operation go after this even if no sample came."""
BEAT_EVERY = timedelta(seconds=5)
NOTICE_WITHIN = timedelta(days=1)
LOST = "model.lost"
"""The audit's word for a model that left memory without Berth."""


class Reconciler:
    """One candidate for the one timer. One that ended and comes again under the same ``holder`` need not wait.

    ``leads``: whether this one held the lease at its last tick; the others stand by.
    """

    def __init__(self, holder: str = "") -> None:
        self._holder = holder or str(uuid.uuid4())
        self.leads = False
        self._asked_for_beat_at: datetime | None = None

    async def tick(self) -> None:
        """Do everything that is due, if this one holds the lease. To be called once a second."""
        await sync_to_async(self.tick_now)()

    async def resign(self) -> None:
        """Let another one lead at once."""
        await sync_to_async(heartbeats.release)(heartbeats.RECONCILER, self._holder)

    def tick_now(self) -> bool:
        """The same at once; whether this one holds the lease."""
        self.leads = heartbeats.hold(heartbeats.RECONCILER, self._holder)
        if not self.leads:
            return False
        now = timezone.now()
        fail_lost(now)
        enqueue_due(now)
        release_reservations(now)
        notice_lost_models(now)
        self._ask_for_beat(now)
        return True

    def _ask_for_beat(self, now: datetime) -> None:
        if self._asked_for_beat_at is None or now - self._asked_for_beat_at >= BEAT_EVERY:
            self._asked_for_beat_at = now
            enqueue_beat()


def fail_lost(now: datetime) -> None:
    """End operations whose worker was lost too often to try once more."""
    lost = Operation.objects.filter(state=State.RUNNING, lease_expires_at__lt=now, attempt__gte=MAX_ATTEMPTS)
    for operation in lost:
        step = operation.steps.filter(state="running").first()
        message = f"Its worker was lost {operation.attempt} times" + (f", the last time at: {step}." if step else ".")
        verdict = {"error_code": "worker_lost", "error_message": message, "phase": "failed"}
        if states.transition(operation.pk, State.RUNNING, State.FAILED, operation.lease_token, **verdict):
            OperationLog.objects.create(operation=operation, text=message)


def enqueue_due(now: datetime) -> None:
    """Tell a worker of every operation that is due and of which none was told lately."""
    untold = Q(enqueued_at=None) | Q(enqueued_at__lt=now - TELL_AGAIN)
    is_due = Q(state=State.QUEUED, due_at=None) | Q(state=State.QUEUED, due_at__lte=now)
    is_orphan = Q(state=State.RUNNING, lease_expires_at__lt=now)
    is_apply = Q(state=State.RUNNING, kind=Operation.Kind.APPLY)
    due = Operation.objects.filter(untold, is_due | is_orphan | is_apply).order_by("pk")
    for operation_id in list(due.values_list("pk", flat=True)):
        Operation.objects.filter(pk=operation_id).update(enqueued_at=now)
        enqueue(operation_id)


def release_reservations(now: datetime) -> None:
    """Let go of what ended operations reserved, once a later sample shows the result."""
    ended = Reservation.objects.exclude(operation__state__in=Operation.ACTIVE)
    is_shown = Q(gpu__host__last_sample_at__gt=F("operation__finished_at"))
    is_old = Q(operation__finished_at__lt=now - RELEASE_AFTER)
    shown = ended.filter(is_shown | is_old)
    for operation_id in set(shown.values_list("operation_id", flat=True)):
        with transaction.atomic():
            Reservation.objects.filter(operation_id=operation_id).delete()
            publish(Topic.OPERATION, operation_id)


def notice_lost_models(now: datetime) -> None:
    """Say of each model that left memory without Berth; one that has come back since is another client's."""
    since = now - NOTICE_WITHIN
    lost = list(Residency.objects.filter(lost_at__gt=since).order_by("pk").select_related("endpoint"))
    if not lost:
        return
    told = AuditEntry.objects.filter(action=LOST, object_type="residency", at__gt=since).order_by("at")
    noticed = dict(told.values_list("object_id", "at"))
    busy = set(OperationTarget.objects.filter(active=True).values_list("endpoint_id", "model_name"))
    for residency in lost:
        is_noticed = residency.lost_at is None or noticed.get(residency.pk, since) >= residency.lost_at
        if not is_noticed and (residency.endpoint_id, residency.name) not in busy:
            _notice(residency)


@transaction.atomic
def _notice(residency: Residency) -> None:
    installed = Installation.objects.filter(endpoint=residency.endpoint, name=residency.name).first()
    failure = installed.last_failure if installed else ""
    why = failure or "its keep-alive ran out, it was evicted, or another client unloaded it."
    text = f"{residency.name} has left memory without Berth: {why}"
    audit.record(PANEL, LOST, residency, endpoint=residency.endpoint.name, pinned=residency.pinned)
    operation = Operation.objects.filter(pk=residency.operation_id or 0).first()
    if operation is not None:
        OperationLog.objects.create(operation=operation, text=text)
    publish(Topic.INVENTORY, residency.endpoint_id)
