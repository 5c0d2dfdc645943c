"""An alert as people see it: its rule's title, what to press, and who was told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from models_app.alerts.models import Alert, Mute
from models_app.alerts.rules.findings import Page, Severity

_LOOKS = {
    Severity.CRITICAL.value: ("circle-alert", "bad"),
    Severity.WARNING.value: ("triangle-alert", "warn"),
    Severity.NOTICE.value: ("info", "run"),
}


@dataclass(frozen=True, slots=True)
class Button:
    """The proposed action. ``is_post``: the ``fields`` are posted to ``address``; else the address leads to a form."""

    words: str
    address: str
    is_post: bool
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AlertStory:
    """One alert, with its mute where there is one."""

    alert: Alert
    title: str
    icon: str
    tone: str
    mute: Mute | None
    button: Button | None

    @property
    def is_open(self) -> bool:
        """Whether it is not over yet."""
        return self.alert.state == Alert.State.OPEN


def alert_stories(alerts: Iterable[Alert]) -> list[AlertStory]:
    """The alerts in words, in their order."""
    alerts = list(alerts)
    wanted = Mute.objects.filter(subject__in={alert.subject for alert in alerts}, until__gt=timezone.now())
    mutes = {(mute.rule, mute.subject): mute for mute in wanted}
    return [_story(alert, mutes.get((alert.rule, alert.subject))) for alert in alerts]


def _story(alert: Alert, mute: Mute | None) -> AlertStory:
    icon, tone = _LOOKS.get(alert.severity, ("info", "run"))
    is_open = alert.state == Alert.State.OPEN
    button = _button(alert.action) if is_open else None
    return AlertStory(alert, alert.title, icon, tone, mute, button)


def _button(action: dict[str, Any]) -> Button | None:
    if not action:
        return None
    words, page, fields = action["words"], action["page"], action["fields"]
    try:
        if page == Page.CANCEL:
            return Button(words, reverse(page, args=[fields["operation_id"]]), True)
        if page == Page.ENFORCE:
            return Button(words, reverse(page, args=[fields["plan_id"]]), True, (("enforce", fields["enforce"]),))
        if page == Page.REMOVE_ENDPOINT:
            return Button(words, reverse(page, args=[fields["endpoint_id"]]), False)
        address = reverse(page)
    except (NoReverseMatch, KeyError):
        return None
    if page == Page.OPERATIONS:
        return Button(words, address, True, tuple(fields.items()))
    return Button(words, f"{address}?{urlencode(fields)}", False)
