"""Plans: the demands and the plans made for them; one plan; what if; two side by side. Nothing here moves a model."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from models_app.inventory.guards import losses
from models_app.inventory.models import Endpoint
from models_app.inventory.references import row_id
from models_app.operations.refusals import RequestRefused
from models_app.plans import requests
from models_app.plans.applying import active_plan
from models_app.plans.comparing import compare
from models_app.plans.demand import read_demand
from models_app.plans.documents import demands_yaml
from models_app.plans.fingerprint import fingerprint
from models_app.plans.freshness import just_made
from models_app.plans.models import Demand, Plan
from models_app.plans.snapshot import take_snapshot
from models_app.web.access import admin_required, member_required
from models_app.web.applied_view import applied_view
from models_app.web.confirm import Question, ask
from models_app.web.listing import Listing
from models_app.web.losses import loss_sentences
from models_app.web.people import acting
from models_app.web.plan_page import GOALS, plan_page
from models_app.web.views.demands import yaml_file
from models_app.web.what_if_plan import WhatIfForm, what_if, what_if_form

LISTING = Listing[Plan](
    sorts={"id": "id", "name": "name", "state": "state"}, default_sort="-id", searches=("name", "requested_by")
)
MOST_COMPARED = 50


@member_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """What should be served, and the plans made for it."""
    listed = LISTING.page(request, _rows())
    now = fingerprint(take_snapshot())
    for plan in listed.page.object_list:
        is_outdated = plan.state == Plan.State.DRAFT and not plan.changes and plan.fingerprint != now
        plan.is_outdated = is_outdated or plan.state == Plan.State.STALE  # type: ignore[attr-defined]
    context = {"demands": Demand.objects.all(), "listed": listed, "has_endpoints": Endpoint.objects.exists()} | {
        "active": active_plan()
    }
    return render(request, "plans/index.html", context)


@admin_required
@require_POST
def make(request: HttpRequest) -> HttpResponse:
    """Have a plan solved for all demands as they are. A second click opens what the first had made."""
    actor, name = acting(request), request.POST.get("name", "")
    try:
        with transaction.atomic():
            get_user_model().objects.select_for_update().get(username=actor.name)  # two clicks come one after the other
            plan = just_made(actor, name)
            if plan is None or str(plan.pk) == request.POST.get("again"):
                plan = requests.request_plan(actor, name=name)
    except RequestRefused as refused:
        messages.error(request, refused.message)
        return redirect("plans")
    return redirect("plan", plan.pk)


@member_required
@require_safe
def detail(request: HttpRequest, plan_id: int) -> HttpResponse:
    """One plan: today and the plan, the moves between them, what it does not meet, and a what-if."""
    plan = get_object_or_404(Plan, pk=plan_id)
    return _shown(request, plan, what_if_form(plan))


def _shown(request: HttpRequest, plan: Plan, form: WhatIfForm, status: int = 200) -> HttpResponse:
    others = _rows().exclude(pk=plan.pk).exclude(goals=[])[:MOST_COMPARED]
    context = {"plan": plan, "view": plan_page(plan), "applied": applied_view(plan), "others": others, "what_if": form}
    return render(request, "plans/detail.html", context, status=status)


@admin_required
@require_POST
def suppose(request: HttpRequest, plan_id: int) -> HttpResponse:
    """Have the same solved again with a what-if's changes; the plan itself stays as it is, and so does what was typed."""
    plan = get_object_or_404(Plan, pk=plan_id)
    try:
        demands, changes = what_if(request.POST)
        supposed = requests.request_plan(acting(request), demands=demands, changes=changes)
    except RequestRefused as refused:
        return _shown(request, plan, what_if_form(plan, request.POST, refused.message), refused.status)
    return redirect("plan", supposed.pk)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, plan_id: int) -> HttpResponse:
    """Delete a plan, once confirmed."""
    plan = get_object_or_404(Plan, pk=plan_id)
    if request.method == "POST":
        requests.delete_plan(acting(request), plan)
        messages.success(request, f"{plan} is deleted.")
        return redirect("plans")
    consequences = ("What it brought about, if it was applied, stays as it is.", *loss_sentences(losses(plan)))
    question = Question(f"Delete {plan}?", consequences, "Delete", reverse("plan", args=[plan.pk]))
    return ask(request, question)


@member_required
@require_safe
def side_by_side(request: HttpRequest, plan_id: int) -> HttpResponse:
    """Two plans; ``?with=`` is the other's id."""
    plan = get_object_or_404(Plan, pk=plan_id)
    others = Plan.objects.exclude(pk=plan.pk)
    other = others.filter(pk=row_id(request.GET.get("with", ""))).first() or others.first()
    if other is None:
        messages.info(request, "There is no other plan to compare it with.")
        return redirect("plan", plan.pk)
    compared = compare(plan, other)
    context = {
        "plan": plan,
        "other": other,
        "demands": compared.demands,
        "goals": [(GOALS[goal.goal], goal) for goal in compared.goals],  # type: ignore[index]
        "pages": [plan_page(plan), plan_page(other)],
        "others": _rows().exclude(pk=plan.pk)[:MOST_COMPARED],
    }
    return render(request, "plans/compare.html", context)


@member_required
@require_safe
def export(request: HttpRequest, plan_id: int) -> HttpResponse:
    """The demands of a plan as a YAML file."""
    plan = get_object_or_404(Plan, pk=plan_id)
    return yaml_file(demands_yaml(read_demand(document) for document in plan.demands), f"plan-{plan.pk}.yaml")


def _rows() -> QuerySet[Plan]:
    return Plan.objects.defer(*Plan.PARTS)
