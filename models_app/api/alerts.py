"""``/alerts``: what is wrong and what was, with evidence and a proposed action."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import Field, Router, Schema
from pydantic import BaseModel, ConfigDict

from models_app.alerts import requests
from models_app.alerts.errors import AlertRefused
from models_app.alerts.models import Alert, Mute
from models_app.alerts.rules.catalogue import RULE_BY_NAME
from models_app.alerts.rules.findings import Severity
from models_app.api.auth import acting
from models_app.api.errors import Problem
from models_app.api.paging import Listing, Page


class FigureOut(BaseModel):
    """One number of the evidence.

    ``unit`` is `bytes`, `MiB`, `%`, `°C`, `s`, `times`, `tokens`, `tokens/s`, `layers` or empty.
    """

    label: str
    value: float
    unit: str


class ActionOut(BaseModel):
    """The proposed action. With ``page`` `operations`, ``fields`` are those of `POST operations`."""

    words: str
    page: str
    fields: dict[str, str]


class MuteOut(BaseModel):
    """Until when nobody is told, and why."""

    until: datetime
    muted_by: str
    reason: str


class AlertOut(BaseModel):
    """An alert; ``mute`` is null unless it is muted now."""

    id: int
    rule: str
    title: str
    severity: str
    state: str
    subject: str
    subject_name: str
    host_id: int | None
    value: float
    sentence: str
    evidence: list[FigureOut]
    advice: str
    action: ActionOut | None
    since: datetime
    raised_at: datetime
    seen_at: datetime
    cleared_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str
    mute: MuteOut | None


class MuteIn(Schema):
    """For how long and why."""

    model_config = ConfigDict(extra="forbid")

    until: datetime = Field(description="In the future, within ten years; with its time zone.")
    reason: str = Field(max_length=requests.MOST_REASON)


router = Router(tags=["alerts"])
LISTING = Listing[Alert](
    sorts={"id": "id", "since": "since", "raised_at": "raised_at", "severity": "severity", "subject": "subject_name"},
    default_sort="-id",
    filters={"state": "state", "severity": "severity", "rule": "rule", "host_id": "host_id"},
    searches=("subject_name", "sentence"),
    choices={
        "state": frozenset(Alert.State.values),
        "severity": frozenset(Severity),
        "rule": frozenset(RULE_BY_NAME),
    },
)


@router.get("", response=Page[AlertOut], summary="List alerts", openapi_extra=LISTING.describe())
def list_alerts(request: HttpRequest) -> dict[str, Any]:
    mutes = _mutes()
    return LISTING.page(request, Alert.objects.all(), lambda row: _alert(row, mutes))


@router.get("/{int:alert_id}", response=AlertOut, summary="One alert")
def get_alert(request: HttpRequest, alert_id: int) -> AlertOut:
    return _alert(get_object_or_404(Alert, pk=alert_id), _mutes())


@router.post("/{int:alert_id}/acknowledge", response=AlertOut, summary="Say that somebody looks after it")
def acknowledge(request: HttpRequest, alert_id: int) -> AlertOut:
    alert = get_object_or_404(Alert, pk=alert_id)
    try:
        requests.acknowledge(acting(request), alert)
    except AlertRefused as refused:
        raise problem_of(refused, 409) from None
    return get_alert(request, alert_id)


@router.post("/{int:alert_id}/mute", response=AlertOut, summary="Keep silent about its rule on its subject")
def mute(request: HttpRequest, alert_id: int, body: MuteIn) -> AlertOut:
    alert = get_object_or_404(Alert, pk=alert_id)
    until = body.until if body.until.tzinfo else timezone.make_aware(body.until)
    try:
        requests.mute(acting(request), alert, until, body.reason)
    except AlertRefused as refused:
        raise problem_of(refused) from None
    return get_alert(request, alert_id)


@router.post("/{int:alert_id}/unmute", response=AlertOut, summary="Let it be heard again")
def unmute(request: HttpRequest, alert_id: int) -> AlertOut:
    requests.unmute(acting(request), get_object_or_404(Alert, pk=alert_id))
    return get_alert(request, alert_id)


def _mutes() -> dict[tuple[str, str], Mute]:
    return {(mute.rule, mute.subject): mute for mute in Mute.objects.filter(until__gt=timezone.now())}


def _alert(row: Alert, mutes: dict[tuple[str, str], Mute]) -> AlertOut:
    same = set(AlertOut.model_fields) - {"evidence", "action", "mute"}
    muted = mutes.get((row.rule, row.subject))
    return AlertOut(
        **{name: getattr(row, name) for name in same},
        evidence=[FigureOut(**figure) for figure in row.evidence],
        action=ActionOut(**row.action) if row.action else None,
        mute=MuteOut.model_validate(muted, from_attributes=True) if muted else None,
    )


def problem_of(refused: AlertRefused, status: int = 422) -> Problem:
    """A refusal as a problem document."""
    return Problem(status, refused.code, f"{refused.message} {refused.hint}".strip(), field=refused.field)
