"""Alerts: what is wrong now, what is muted, and what is over."""

from __future__ import annotations

from django.db.models import Case, IntegerField, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from models_app.alerts import requests
from models_app.alerts.errors import AlertRefused
from models_app.alerts.models import Alert
from models_app.alerts.rules.catalogue import RULE_BY_NAME, RULES
from models_app.alerts.rules.findings import Severity
from models_app.alerts.summary import muted
from models_app.inventory.models import Host
from models_app.web.access import admin_required, member_required
from models_app.web.alert_forms import MuteForm
from models_app.web.alert_story import alert_stories
from models_app.web.listing import Filter, Listing
from models_app.web.people import acting
from models_app.web.views.operations import done

LISTING = Listing[Alert](
    sorts={"severity": "rank", "since": "since", "cleared_at": "cleared_at", "subject": "subject_name", "id": "id"},
    default_sort="severity",
    searches=("subject_name", "sentence", "rule"),
    filters={"severity": "severity", "rule": "rule", "host": "host__name"},
)
SHOWN = {"open": "Open", "muted": "Muted", "past": "Past"}


@member_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """One of the three lists; the open ones by default, the worst first."""
    shown = request.GET.get("show", "open")
    shown = shown if shown in SHOWN else "open"
    severity = Filter("severity", "Severity", tuple((each.value, each.value.capitalize()) for each in Severity))
    rule = Filter("rule", "Rule", tuple((each.name, each.title) for each in RULES))
    host = Filter("host", "Host", tuple((name, name) for name in Host.objects.values_list("name", flat=True)[:200]))
    listed = LISTING.page(request, _rows(shown), severity, rule, host)
    context = {
        "listed": listed,
        "stories": alert_stories(listed.page),
        "shown": shown,
        "tabs": [(name, words, _rows(name).count()) for name, words in SHOWN.items()],
        "rule_count": len(RULES),
    }
    return render(request, "alerts/index.html", context)


def _rows(shown: str) -> QuerySet[Alert]:
    ranks = [When(severity=each.value, then=Value(rank)) for rank, each in enumerate(Severity)]
    alerts = Alert.objects.annotate(rank=Case(*ranks, default=Value(len(ranks)), output_field=IntegerField()))
    if shown == "past":
        return alerts.filter(state=Alert.State.CLEARED)
    return alerts.filter(muted() if shown == "muted" else ~muted(), state=Alert.State.OPEN)


@member_required
@require_safe
def detail(request: HttpRequest, alert_id: int) -> HttpResponse:
    """One alert with its evidence and who was told of it."""
    alert = _alert(alert_id)
    context = {
        "story": alert_stories([alert])[0],
        "rule": RULE_BY_NAME.get(alert.rule),
        "deliveries": alert.deliveries.select_related("receiver")[:50],
    }
    return render(request, "alerts/detail.html", context)


@require_POST
@admin_required
def acknowledge(request: HttpRequest, alert_id: int) -> HttpResponse:
    """Say that somebody looks after it."""
    alert = _alert(alert_id)
    try:
        requests.acknowledge(acting(request), alert)
    except AlertRefused as refused:
        return done(request, refused.message, reverse("alerts"))
    return done(request, f"{alert.subject_name}: acknowledged.", reverse("alerts"))


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def mute(request: HttpRequest, alert_id: int) -> HttpResponse:
    """Keep silent about it for a while: the form, and its answer."""
    alert, form = _alert(alert_id), MuteForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            requests.mute(acting(request), alert, form.until, form.cleaned_data["reason"])
        except AlertRefused as refused:
            form.refuse(refused)
        else:
            return done(request, f"{alert.subject_name}: muted.", reverse("alerts"))
    is_dialog = request.headers.get("HX-Target") == "dialog"
    template = "alerts/mute_dialog.html" if is_dialog else "alerts/mute.html"
    context = {"form": form, "story": alert_stories([alert])[0], "is_dialog": is_dialog}
    return render(request, template, context, status=422 if form.errors else 200)


@require_POST
@admin_required
def unmute(request: HttpRequest, alert_id: int) -> HttpResponse:
    """Let it be heard again."""
    alert = _alert(alert_id)
    requests.unmute(acting(request), alert)
    return done(request, f"{alert.subject_name}: no longer muted.", reverse("alerts"))


def _alert(alert_id: int) -> Alert:
    return get_object_or_404(Alert, pk=alert_id)
