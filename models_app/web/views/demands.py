"""Demands: added and changed one by one, or all at once as YAML."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from models_app.inventory.guards import losses
from models_app.operations.refusals import RequestRefused
from models_app.plans import requests
from models_app.plans.demand import spec_of
from models_app.plans.documents import MOST_BYTES, demands_yaml
from models_app.plans.models import Demand
from models_app.web.access import admin_required, member_required
from models_app.web.confirm import Question, ask
from models_app.web.demand_form import DemandForm, initial_of, known_models
from models_app.web.losses import loss_sentences
from models_app.web.people import acting


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Add a demand; ``?model=`` fills in which."""
    return _edited(request, None, {"model": request.GET.get("model", "")[:255]})


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, demand_id: int) -> HttpResponse:
    """Change a demand."""
    row = get_object_or_404(Demand, pk=demand_id)
    return _edited(request, row, initial_of(spec_of(row)))


def _edited(request: HttpRequest, row: Demand | None, initial: dict[str, object]) -> HttpResponse:
    form = DemandForm(request.POST or None, initial=initial, row=row)
    if request.method == "POST" and form.is_valid():
        try:
            saved = requests.save_demand(acting(request), form.document(), row)
        except RequestRefused as refused:
            form.refuse(refused)
        else:
            messages.success(request, f"{saved.name} is saved. Plans made from now on know it.")
            return redirect("plans")
    context = {"form": form, "demand": row, "known_models": known_models()}
    return render(request, "plans/demand.html", context, status=422 if form.errors else 200)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, demand_id: int) -> HttpResponse:
    """Delete a demand, once confirmed."""
    row = get_object_or_404(Demand, pk=demand_id)
    if request.method == "POST":
        requests.delete_demand(acting(request), row)
        messages.success(request, f"{row.name} is deleted.")
        return redirect("plans")
    consequences = (
        "Plans made from now on do not place it.",
        "What is loaded for it stays loaded until a plan or somebody unloads it.",
        *loss_sentences(losses(row)),
    )
    return ask(request, Question(f"Delete the demand {row.name}?", consequences, "Delete", reverse("plans")))


@member_required
@require_safe
def export(request: HttpRequest) -> HttpResponse:
    """All demands as a YAML file."""
    return yaml_file(demands_yaml(requests.all_specs()), "demands.yaml")


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def import_yaml(request: HttpRequest) -> HttpResponse:
    """Add and change demands by a YAML file or what was typed; nothing is lost when it is refused."""
    typed, refusal = "", ""
    if request.method == "POST":
        typed, refusal = _typed(request)
        if not refusal:
            try:
                done = requests.import_demands(acting(request), typed, replace=request.POST.get("replace") == "on")
            except RequestRefused as refused:
                refusal = refused.message
            else:
                counts = f"{len(done.added)} added, {len(done.changed)} changed, {len(done.deleted)} deleted"
                gone = f" Schedules deleted with their demands: {', '.join(done.schedules)}." if done.schedules else ""
                messages.success(request, f"Imported: {counts}.{gone}")
                return redirect("plans")
    context = {
        "typed": typed or demands_yaml(requests.all_specs()),
        "refusal": refusal,
        "has_demands": Demand.objects.exists(),
        "scheduled": Demand.objects.exclude(schedules=None).distinct().values_list("name", flat=True),
    }
    return render(request, "plans/import.html", context, status=422 if refusal else 200)


def _typed(request: HttpRequest) -> tuple[str, str]:
    """The text of the file, else of the field, and in a sentence what is wrong with it as a text."""
    uploaded = request.FILES.get("file")
    if uploaded is None:
        return request.POST.get("yaml", ""), ""
    if (uploaded.size or 0) > MOST_BYTES:
        return "", f"The file is larger than {MOST_BYTES // 1024} KiB."
    try:
        return uploaded.read().decode(), ""
    except UnicodeDecodeError:
        return "", "The file is no text in UTF-8."


def yaml_file(text: str, name: str) -> HttpResponse:
    """A download."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(text, content_type="application/yaml; charset=utf-8", headers=headers)
