"""Plans made real: the question before, enforcing afterwards, and a demand made available."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from models_app.operations.refusals import RequestRefused
from models_app.plans.applying import apply_plan
from models_app.plans.enforcing import set_enforced
from models_app.plans.models import Demand, Plan
from models_app.plans.outages import outages, total_seconds
from models_app.plans.records import steps
from models_app.plans.waking import JustLoaded, wake
from models_app.web.access import admin_required
from models_app.web.confirm import Question, ask
from models_app.web.people import acting


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def apply(request: HttpRequest, plan_id: int) -> HttpResponse:
    """What applying a plan unloads, and for how long models will be down; once confirmed, it is applied."""
    plan = get_object_or_404(Plan.objects.select_related("operation"), pk=plan_id)
    refused: RequestRefused | None = None
    if request.method == "POST":
        try:
            plan = apply_plan(acting(request), plan, confirmed=True, enforce=bool(request.POST.get("enforce")))
        except RequestRefused as refusal:
            refused = refusal
        else:
            if plan.operation:
                return redirect("operation", operation_id=plan.operation.pk)
            messages.success(request, f"Everything is as {plan} has it; it is the active plan now.")
            return redirect("plan", plan_id=plan.pk)
    context = {
        "plan": plan,
        "outages": outages(plan),
        "steps": steps(plan.steps),
        "total_seconds": total_seconds(plan),
        "enforce": bool(request.POST.get("enforce")) if refused else plan.enforce,
        "refused": refused,
        "is_stale": refused is not None and refused.code == "plan_stale",
    }
    return render(request, "plans/apply.html", context, status=refused.status if refused else 200)


@admin_required
@require_POST
def enforcement(request: HttpRequest, plan_id: int) -> HttpResponse:
    """Correct what drifts from the plan, or only tell of it."""
    plan = get_object_or_404(Plan, pk=plan_id)
    enforced = request.POST.get("enforce") == "on"
    set_enforced(acting(request), plan, enforced)
    words = "is put right from now on" if enforced else "is told, and left as it is"
    messages.success(request, f"What drifts from {plan} {words}.")
    return redirect("plan", plan_id=plan.pk)


@admin_required
@require_POST
def wake_demand(request: HttpRequest, demand_id: int) -> HttpResponse:
    """Make a demand available; where a model makes way that has only just come, ask first."""
    demand = get_object_or_404(Demand, pk=demand_id)
    try:
        woken = wake(acting(request), demand, confirmed=bool(request.POST.get("confirmed")))
    except JustLoaded as refused:
        address = reverse("plan_demand_wake", args=[demand.pk])
        costs = (f"{refused.reason}.", "Swapping back and forth serves nobody: whoever asked for it waits again.")
        question = Question(f"Load {demand} now?", costs, "Load", reverse("plans"), address)
        return ask(request, question, status=refused.status)
    except RequestRefused as refused:
        messages.error(request, refused.message)
        return redirect("plans")
    if woken.operation:
        return redirect("operation", operation_id=woken.operation.pk)
    messages.success(request, f"{demand} is served by {woken.instance.model} on {woken.instance.endpoint} already.")
    return redirect("plans")
