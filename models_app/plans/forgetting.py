"""Forgets what ended long ago: operations with their steps and log, requests to wake, corrections, and the audit trail."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Exists, Model, OuterRef, QuerySet
from django.utils import timezone

from models_app.accounts.models import AuditEntry
from models_app.inventory.models import Residency
from models_app.operations.apply_steps import ApplyStep
from models_app.operations.models import Operation
from models_app.plans.corrections import Correction
from models_app.plans.models import Plan
from models_app.plans.schedules import Schedule
from models_app.plans.wakes import Wake

FORGET_SECONDS = 60.0
MOST_AT_ONCE = 500
"""Rows of a kind that one tick deletes, so that it holds the database for a moment only."""
_REFERRING: tuple[tuple[type[Model], str], ...] = (
    (Plan, "operation_id"),
    (Schedule, "operation_id"),
    (Correction, "operation_id"),
    (Residency, "operation_id"),
    (ApplyStep, "part_id"),
    (Operation, "follows_id"),
)


def forget_old(now: datetime | None = None) -> None:
    """One tick. What a plan, a schedule, a correction, a residency or another operation refers to stays."""
    now = now or timezone.now()
    if settings.OPERATIONS_DAYS:
        since = now - timedelta(days=settings.OPERATIONS_DAYS)
        _delete_oldest(Wake.objects.filter(at__lt=since))
        _delete_oldest(Correction.objects.filter(at__lt=since))
        _delete_oldest(_unused(since))
    if settings.AUDIT_DAYS:
        _delete_oldest(AuditEntry.objects.filter(at__lt=now - timedelta(days=settings.AUDIT_DAYS)))


def _unused(since: datetime) -> QuerySet[Operation]:
    """Operations that ended before, and that nothing refers to."""
    rows = Operation.objects.filter(finished_at__lt=since).exclude(state__in=Operation.ACTIVE)
    for model, column in _REFERRING:
        rows = rows.filter(~Exists(model._default_manager.filter(**{column: OuterRef("pk")})))
    return rows


def _delete_oldest(rows: QuerySet[Any, Any]) -> None:
    model: type[Model] = rows.model
    oldest = list(rows.order_by("pk").values_list("pk", flat=True)[:MOST_AT_ONCE])
    model._default_manager.filter(pk__in=oldest).delete()
