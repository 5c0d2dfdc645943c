"""What is old is forgotten, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from models_app.alerts.delivery.models import Delivery
from models_app.alerts.models import Alert, Mute
from models_app.alerts.records import forget_old
from tests.factories import AlertFactory, ReceiverFactory

pytestmark = pytest.mark.django_db


def test_past_alerts_ended_messages_and_mutes_go_when_they_are_old():
    now = timezone.now()
    long_ago = now - timedelta(days=365)
    AlertFactory(state="cleared", cleared_at=long_ago, subject="old")
    AlertFactory(state="cleared", cleared_at=now, subject="recent")
    AlertFactory(since=long_ago, raised_at=long_ago, subject="open")
    receiver = ReceiverFactory()
    for state in ("pending", "failed", "delivered"):
        Delivery.objects.create(receiver=receiver, event="test", payload={}, due_at=now, state=state)
    Delivery.objects.update(created_at=long_ago)
    for subject, until in (("past", long_ago), ("still", now + timedelta(hours=1))):
        Mute.objects.create(rule="vram_full", subject=subject, until=until, muted_by="ada", reason="known")
    forget_old(now)
    assert set(Alert.objects.values_list("subject", flat=True)) == {"recent", "open"}
    assert set(Delivery.objects.values_list("state", flat=True)) == {"pending"}
    assert set(Mute.objects.values_list("subject", flat=True)) == {"still"}
