"""Recommended configurations by hardware: seen by members, edited and reset by admins."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from models_app.catalog.tiers import TierRefused, is_edited, replace_tiers, reset_tiers, tiers
from models_app.inventory.models import Host
from models_app.operations.hardware import tiers_of
from models_app.web.access import admin_required, member_required
from models_app.web.confirm import Question, ask
from models_app.web.people import acting
from models_app.web.tier_forms import KINDS, TierRows


@member_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The table, with the machines that each row is about."""
    hosts = Host.objects.prefetch_related("gpus")
    names = {host.pk: host.name for host in hosts}
    mine: dict[str, list[str]] = {}
    for pk, tier in tiers_of(hosts).items():
        mine.setdefault(tier.name, []).append(names[pk])
    groups = [
        (words, [(tier, mine.get(tier.name, [])) for tier in tiers() if tier.kind is kind]) for kind, words in KINDS.items()
    ]
    return render(request, "models/tiers.html", {"groups": groups, "is_edited": is_edited()})


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest) -> HttpResponse:
    """Every row at once."""
    rows = TierRows(request.POST if request.method == "POST" else None, tiers())
    chosen = rows.chosen() if request.method == "POST" else None
    if chosen is not None:
        try:
            replace_tiers(acting(request), chosen)
        except TierRefused as refused:
            rows.refuse(refused)
        else:
            messages.success(request, "The table is saved.")
            return redirect("model_tiers")
    return render(request, "models/tiers_edit.html", {"rows": rows}, status=422 if rows.has_errors else 200)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def reset(request: HttpRequest) -> HttpResponse:
    """Back to the table as shipped, once confirmed."""
    if request.method != "POST":
        return ask(request, _question())
    reset_tiers(acting(request))
    messages.success(request, "The table is as shipped again.")
    return redirect("model_tiers")


def _question() -> Question:
    return Question(
        title="Reset the table of configurations?",
        consequences=("Every row that was added or changed here is lost, and the shipped rows come back.",),
        action="Reset",
        back=reverse("model_tiers"),
        address=reverse("model_tiers_reset"),
    )
