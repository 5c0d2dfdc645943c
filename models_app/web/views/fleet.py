"""The Fleet page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from models_app.accounts.roles import is_admin
from models_app.operations.fleet import fleet, read_rows
from models_app.web.access import member_required
from models_app.web.fleet_page import fleet_page, screen_name
from models_app.web.load_form import LoadForm
from models_app.web.screens import open_alerts
from models_app.web.stories import recent_stories
from models_app.web.views.load import context_of


@require_safe
@member_required
def page(request: HttpRequest) -> HttpResponse:
    """Hosts, GPUs, what is loaded, and for admins the form that loads."""
    listed = fleet_page(request.GET)
    context = {
        "fleet": listed.with_sums(fleet(read_rows(listed.host_ids))),
        "listed": listed.listed,
        "is_part": listed.is_part,
        "screen": screen_name(request.GET),
        "stories": recent_stories(),
        "alerts": open_alerts(),
    }
    if is_admin(request.user):
        context |= context_of(LoadForm(request.GET))
    return render(request, "fleet/page.html", context)
