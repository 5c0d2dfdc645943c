"""What Berth watches for: every rule with its limits, which admins change."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from models_app.alerts.errors import AlertRefused
from models_app.alerts.limits import limits_by_rule, set_limits
from models_app.alerts.rules.catalogue import RULE_BY_NAME, RULES
from models_app.web.access import admin_required, member_required
from models_app.web.alert_forms import LimitsForm
from models_app.web.people import acting


@member_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Every rule."""
    limits = limits_by_rule()
    rows = [(rule, limits[rule.name], limits[rule.name] != rule.limits) for rule in RULES]
    return render(request, "alerts/rules.html", {"rows": rows})


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def edit(request: HttpRequest, rule_name: str) -> HttpResponse:
    """Change one rule's limits, or go back to its own."""
    rule = RULE_BY_NAME.get(rule_name)
    if rule is None:
        raise Http404("There is no such rule.")
    if request.method == "POST" and request.POST.get("reset"):
        set_limits(acting(request), rule, rule.limits)
        return _saved(request, rule.title)
    form = LimitsForm(request.POST or None, rule=rule, limits=limits_by_rule()[rule.name])
    if request.method == "POST" and form.is_valid():
        try:
            set_limits(acting(request), rule, form.limits)
        except AlertRefused as refused:
            form.refuse(refused)
        else:
            return _saved(request, rule.title)
    return render(request, "alerts/rule.html", {"form": form, "rule": rule}, status=422 if form.errors else 200)


def _saved(request: HttpRequest, title: str) -> HttpResponse:
    messages.success(request, f"“{title}” is saved.")
    return redirect("alert_rules")
