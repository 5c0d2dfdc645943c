"""What people do with alerts: acknowledge them, mute them for a while, and let them be heard again."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.roles import Actor
from models_app.alerts.errors import AlertRefused
from models_app.alerts.models import Alert, Mute
from models_app.live import Topic, publish

LONGEST_MUTE = timedelta(days=3660)
MOST_REASON = 200


@transaction.atomic
def acknowledge(actor: Actor, alert: Alert) -> bool:
    """Say that somebody looks after an open alert; whether nobody had before. Raises ``AlertRefused`` for a past one."""
    unseen = Alert.objects.filter(pk=alert.pk, state=Alert.State.OPEN, acknowledged_at=None)
    if not unseen.update(acknowledged_at=timezone.now(), acknowledged_by=actor.name):
        alert.refresh_from_db()
        if alert.state != Alert.State.OPEN:
            raise AlertRefused("already_cleared", "This alert is over.")
        return False
    audit.record(actor, "alert.acknowledge", alert)
    publish(Topic.ALERT, alert.pk)
    return True


@transaction.atomic
def mute(actor: Actor, alert: Alert, until: datetime, reason: str) -> Mute:
    """Keep silent about the alert's rule on its subject. Raises ``AlertRefused``."""
    reason = " ".join(reason.replace("\x00", "").split())
    if not 1 <= len(reason) <= MOST_REASON:
        raise AlertRefused("invalid_reason", f"Say why, in 1 to {MOST_REASON} characters.", "reason")
    if not timedelta() < until - timezone.now() <= LONGEST_MUTE:
        raise AlertRefused("invalid_until", "It must be in the future, within ten years.", "until")
    said = {"until": until, "muted_by": actor.name, "reason": reason, "created_at": timezone.now()}
    row = Mute.objects.update_or_create(rule=alert.rule, subject=alert.subject, defaults=said)[0]
    audit.record(actor, "alert.mute", alert, until=until.isoformat(timespec="minutes"), reason=reason)
    publish(Topic.ALERT, alert.pk)
    return row


@transaction.atomic
def unmute(actor: Actor, alert: Alert) -> bool:
    """Let the alert be heard again; whether it was muted."""
    if not Mute.objects.filter(rule=alert.rule, subject=alert.subject).delete()[0]:
        return False
    audit.record(actor, "alert.unmute", alert)
    publish(Topic.ALERT, alert.pk)
    return True
