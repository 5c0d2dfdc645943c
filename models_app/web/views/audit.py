"""The audit trail, for admins: who did what, when and through which door."""

from __future__ import annotations

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
    searches=("actor_name", "action", "object_name"),
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
    return render(request, "audit/index.html", {"listed": listed, "doors": dict(VIA.choices)})


def _offered(entries: QuerySet[AuditEntry], column: str) -> tuple[tuple[str, str], ...]:
    values = entries.order_by(column).values_list(column, flat=True).distinct()
    return tuple((value, value) for value in values[:200])
