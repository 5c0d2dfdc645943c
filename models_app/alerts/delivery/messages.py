"""What is sent: the same facts as JSON for programs and as plain text for people."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings

from models_app.alerts.models import Alert
from models_app.alerts.rules.findings import Severity, Unit, lasting
from models_app.operations.wording import gib


def payload_of(event: str, alert: Alert, now: datetime) -> dict[str, Any]:
    """The message about an alert. ``text`` says it in a line, for receivers that show nothing else.

    ``url`` is empty where the panel was not told its own address.
    """
    path = f"/alerts/{alert.pk}/"
    return {
        "event": event,
        "at": now.isoformat(),
        "text": _line(event, alert),
        "alert": {
            "id": alert.pk,
            "rule": alert.rule,
            "title": alert.title,
            "severity": alert.severity,
            "subject": alert.subject_name,
            "sentence": alert.sentence,
            "evidence": alert.evidence,
            "advice": alert.advice,
            "since": alert.since.isoformat(),
            "cleared_at": alert.cleared_at.isoformat() if alert.cleared_at else None,
            "path": path,
            "url": settings.PANEL_URL and settings.PANEL_URL.rstrip("/") + path,
        },
    }


def trial_payload(now: datetime) -> dict[str, Any]:
    """A message about nothing."""
    text = "Berth: this is a test. Alerts will reach you here."
    return {"event": "test", "at": now.isoformat(), "text": text, "alert": None}


def subject_line(payload: dict[str, Any]) -> str:
    """The subject of the e-mail: one line, however odd the names in it."""
    return " ".join(str(payload["text"]).split())[:180]


def body_text(payload: dict[str, Any]) -> str:
    """The e-mail itself."""
    alert = payload.get("alert")
    if not alert:
        return f"{payload['text']}\n"
    figures = [f"  {figure['label']}: {figure_words(figure['value'], figure['unit'])}" for figure in alert["evidence"]]
    parts = [
        payload["text"],
        alert["sentence"],
        "\n".join(figures),
        alert["advice"],
        f"In the panel: {alert.get('url') or alert['path']}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def figure_words(value: float, unit: str) -> str:
    """A number of the evidence with its unit."""
    if unit == Unit.BYTES:
        return gib(int(value))
    if unit == Unit.SECONDS:
        return lasting(value)
    if unit == Unit.TIMES and value == 1:
        return "once"
    number = f"{value:,.1f}".removesuffix(".0")
    return f"{number} {unit}".strip()


def _line(event: str, alert: Alert) -> str:
    mark = {Severity.CRITICAL: "Critical: ", Severity.WARNING: "", Severity.NOTICE: ""}[Severity(alert.severity)]
    over = "Over: " if event == "cleared" else ""
    return f"Berth: {over}{mark}{alert.title} ({alert.subject_name})"
