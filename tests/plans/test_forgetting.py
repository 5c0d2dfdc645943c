"""What ended long ago is forgotten, a little at a time, and nothing that is still referred to."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.models import AuditEntry
from models_app.accounts.roles import PANEL
from models_app.inventory.models import Residency
from models_app.operations.models import Operation, OperationLog
from models_app.plans import forgetting
from models_app.plans.forgetting import forget_old
from models_app.plans.models import Demand, Plan
from models_app.plans.wakes import Wake
from tests.factories import OperationFactory

pytestmark = pytest.mark.django_db
NOW = timezone.now()
LONG_AGO = NOW - timedelta(days=400)


def ended(name: str, at: datetime = LONG_AGO, **more: Any) -> Operation:
    return OperationFactory(model_name=name, state="succeeded", finished_at=at, **more)


def names() -> set[str]:
    return set(Operation.objects.values_list("model_name", flat=True))


@pytest.fixture(autouse=True)
def a_year(settings: Any) -> None:
    settings.OPERATIONS_DAYS = settings.AUDIT_DAYS = 365


def test_old_operations_go_with_their_log_and_recent_and_running_ones_stay() -> None:
    OperationLog.objects.create(operation=ended("old"), text="done")
    ended("recent", NOW - timedelta(days=300))
    OperationFactory(model_name="queued")
    forget_old(NOW)
    assert names() == {"recent", "queued"}
    assert not OperationLog.objects.exists()


def test_what_is_referred_to_stays() -> None:
    Plan.objects.create(operation=ended("of a plan"), requested_by="ada")
    resident = ended("in memory")
    Residency.objects.create(endpoint=resident.site, name="x", operation_id=resident.pk, requested_by="ada", since=LONG_AGO)
    ended("resumed", NOW, follows=ended("stopped"))
    forget_old(NOW)
    assert names() == {"of a plan", "in memory", "resumed", "stopped"}


def test_old_requests_to_wake_and_audit_entries_go() -> None:
    demand = Demand.objects.create(name="chat", model="llama3.1:8b")
    for at in (LONG_AGO, NOW):
        row = Wake.objects.create(demand=demand, requested_by="ada")
        Wake.objects.filter(pk=row.pk).update(at=at)
        audit.record(PANEL, "host.add")
        AuditEntry.objects.filter(pk=AuditEntry.objects.latest("pk").pk).update(at=at)
    forget_old(NOW)
    assert (Wake.objects.get().at, AuditEntry.objects.get().at) == (NOW, NOW)


def test_a_tick_deletes_so_many_and_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "MOST_AT_ONCE", 2)
    for name in ("a", "b", "c"):
        ended(name)
    forget_old(NOW)
    assert names() == {"c"}


def test_zero_days_keep_everything(settings: Any) -> None:
    settings.OPERATIONS_DAYS = settings.AUDIT_DAYS = 0
    ended("old")
    audit.record(PANEL, "host.add")
    AuditEntry.objects.update(at=LONG_AGO)
    forget_old(NOW)
    assert (names(), AuditEntry.objects.count()) == ({"old"}, 1)
