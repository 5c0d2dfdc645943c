"""The audit trail, for admins: who did what, when and through which door."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from models_app.accounts.models import AuditEntry
from models_app.accounts.roles import Via
from models_app.web.access import admin_required
from models_app.web.listing import Filter, Listing

LISTING = Listing[AuditEntry](
    sorts={"at": "at", "actor": "actor_name", "action": "action"},
    default_sort="-at",
    searches=("actor_name", "action", "object_name", "address"),
    filters={"action": "action", "actor": "actor_name", "via": "via"},
)
VIA = Filter(
    "via",
    "Through",
    (
        (Via.WEB.value, "Browser"),
        (Via.API.value, "API"),
        (Via.COMMAND.value, "Command line"),
        (Via.PANEL.value, "Berth itself"),
    ),
)


@admin_required
@require_safe
def audit(request: HttpRequest) -> HttpResponse:
    """The trail, newest first."""
    entries = AuditEntry.objects.all()
    action = Filter("action", "Action", _offered(entries, "action"))
    actor = Filter("actor", "By", _offered(entries, "actor_name"))
    listed = LISTING.page(request, entries, action, actor, VIA)
    doors = dict(VIA.choices)
    rows = [(entry, doors.get(entry.via, entry.via), _detail(entry)) for entry in listed.page]
    return render(request, "audit/index.html", {"listed": listed, "rows": rows})


def _detail(entry: AuditEntry) -> str:
    """What the entry tells besides, without what is empty."""
    told = ((name.replace("_", " "), _words(value)) for name, value in entry.detail.items() if value or value == 0)
    return " · ".join(name if value == "yes" else f"{name}: {value}" for name, value in told if value != "no")


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(part)}" for name, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _offered(entries: QuerySet[AuditEntry], column: str) -> tuple[tuple[str, str], ...]:
    """What there is to choose from, read from the column's index alone."""
    values = entries.order_by(column).values_list(column, flat=True).distinct()
    return tuple((value, value) for value in values[:200])
