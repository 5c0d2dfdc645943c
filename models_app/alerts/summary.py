"""Alerts in figures, and which of them are muted: what the bell and the lists ask for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from models_app.alerts.models import Alert, Mute
from models_app.alerts.rules.findings import Severity


@dataclass(frozen=True, slots=True)
class Summary:
    """The open alerts that are not muted. ``critical`` are those of that severity that nobody has acknowledged."""

    count: int = 0
    worst: str = ""
    critical: tuple[Alert, ...] = ()


def muted() -> Exists:
    """The condition on alerts that nobody wants to hear of them now."""
    return Exists(Mute.objects.filter(rule=OuterRef("rule"), subject=OuterRef("subject"), until__gt=timezone.now()))


def heard() -> QuerySet[Alert]:
    """The open alerts that are not muted, the oldest first."""
    return Alert.objects.filter(~muted(), state=Alert.State.OPEN).order_by("pk")


def worst_first(alerts: Iterable[Alert]) -> list[Alert]:
    """By severity, then the newest first."""
    ranks = {each.value: rank for rank, each in enumerate(Severity)}
    return sorted(alerts, key=lambda alert: (ranks.get(alert.severity, len(ranks)), -alert.pk))


def summary() -> Summary:
    """What is to be heard now, in one query."""
    alerts = list(heard())
    severities = {alert.severity for alert in alerts}
    worst = next((each.value for each in Severity if each.value in severities), "")
    critical = tuple(each for each in alerts if each.severity == Severity.CRITICAL and each.acknowledged_at is None)
    return Summary(len(alerts), worst, critical)
