"""Schedules: when a plan is applied or a demand made available, and what became of it the last time."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from models_app.operations.refusals import RequestRefused
from models_app.plans.cron import in_words
from models_app.plans.models import Demand, Plan
from models_app.plans.schedules import Schedule
from models_app.plans.scheduling import delete_schedule, save_schedule
from models_app.web.access import admin_required, member_required
from models_app.web.confirm import Question, ask
from models_app.web.people import acting
from models_app.web.schedule_form import ScheduleForm, initial_of


@member_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Every schedule."""
    schedules = Schedule.objects.select_related("plan", "demand").defer(*(f"plan__{part}" for part in Plan.PARTS))
    rows = [(row, in_words(row.cron)) for row in schedules]
    context = {"rows": rows, "has_plans": Plan.objects.exists() or Demand.objects.exists()}
    return render(request, "plans/schedules.html", context)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Add a schedule."""
    first = {"time_zone": timezone.get_default_timezone_name(), "enabled": True}
    return _edited(request, None, first)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, schedule_id: int) -> HttpResponse:
    """Change a schedule."""
    row = get_object_or_404(Schedule, pk=schedule_id)
    return _edited(request, row, initial_of(row))


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, schedule_id: int) -> HttpResponse:
    """Delete a schedule, once confirmed."""
    row = get_object_or_404(Schedule, pk=schedule_id)
    if request.method == "POST":
        delete_schedule(acting(request), row)
        messages.success(request, f"{row} is deleted.")
        return redirect("schedules")
    consequences = ("It does not fire again.", "What it brought about stays as it is.")
    address = reverse("schedule_delete", args=[row.pk])
    return ask(request, Question(f"Delete the schedule {row}?", consequences, "Delete", reverse("schedules"), address))


def _edited(request: HttpRequest, row: Schedule | None, initial: dict[str, object]) -> HttpResponse:
    form = ScheduleForm(request.POST or None, row=row, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            saved = save_schedule(acting(request), row=row, **form.document())
        except RequestRefused as refused:
            form.refuse(refused)
        else:
            messages.success(request, f"{saved} is saved.")
            return redirect("schedules")
    return render(request, "plans/schedule.html", {"form": form, "schedule": row}, status=422 if form.errors else 200)
