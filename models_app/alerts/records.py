"""Alerts, written down: raised, kept up to date, cleared. Every change is guarded by the state that was read."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction

from models_app.alerts.delivery import queue
from models_app.alerts.delivery.queue import announce
from models_app.alerts.models import Alert, Mute
from models_app.alerts.rules.findings import Action, Reading, Rule
from models_app.live import Topic, publish

REWRITE_AFTER = timedelta(seconds=15)
"""The evidence of an open alert is brought up to date no more often than this."""
KEPT_FOR = timedelta(days=90)
State = Alert.State

Key = tuple[str, str]
"""A rule's name and a subject's key."""


def open_alerts() -> dict[Key, Alert]:
    """Every open alert by its rule and subject."""
    return {(alert.rule, alert.subject): alert for alert in Alert.objects.filter(state=State.OPEN)}


def raise_alert(rule: Rule, reading: Reading, since: datetime, now: datetime) -> Alert | None:
    """Open an alert; ``None`` where another evaluator was faster, or its host has just been removed."""
    try:
        with transaction.atomic():
            alert = Alert.objects.create(
                rule=rule.name,
                subject=reading.subject.key,
                subject_name=reading.subject.name,
                host_id=reading.subject.host_id,
                since=since,
                raised_at=now,
                **_told(rule, reading, now),
            )
            announce(alert, now)
            publish(Topic.ALERT, alert.pk)
    except IntegrityError:
        return None
    return alert


def update_alert(alert: Alert, rule: Rule, reading: Reading, now: datetime) -> bool:
    """Bring the evidence up to date where it says something else; whether it did."""
    if now - alert.seen_at < REWRITE_AFTER or not reading.sentence:
        return False
    told = _told(rule, reading, now)
    if all(told[name] == getattr(alert, name) for name in ("sentence", "action", "severity")):
        return False
    if not Alert.objects.filter(pk=alert.pk, state=State.OPEN).update(**told):
        return False
    publish(Topic.ALERT, alert.pk)
    return True


def clear_alert(alert: Alert, now: datetime) -> bool:
    """Close an alert; whether it was open."""
    with transaction.atomic():
        if not Alert.objects.filter(pk=alert.pk, state=State.OPEN).update(state=State.CLEARED, cleared_at=now):
            return False
        alert.state, alert.cleared_at = State.CLEARED, now
        announce(alert, now)
        publish(Topic.ALERT, alert.pk)
    return True


def forget_old(now: datetime) -> None:
    """Delete what was cleared or sent long ago, and mutes that have run out."""
    Alert.objects.filter(state=State.CLEARED, cleared_at__lt=now - KEPT_FOR).delete()
    Mute.objects.filter(until__lt=now).delete()
    queue.forget_old(now)


def _told(rule: Rule, reading: Reading, now: datetime) -> dict[str, Any]:
    return {
        "severity": reading.severity or rule.severity,
        "value": reading.value or 0,
        "sentence": reading.sentence,
        "evidence": [asdict(figure) for figure in reading.figures],
        "advice": reading.advice,
        "action": _action(reading.action),
        "seen_at": now,
    }


def _action(action: Action | None) -> dict[str, Any]:
    return {"words": action.words, "page": action.page.value, "fields": dict(action.fields)} if action else {}
