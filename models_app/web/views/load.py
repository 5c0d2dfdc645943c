"""The form that loads or swaps, with its fit preview: in the Fleet page's aside, in a dialog, and as a page of its own."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from models_app.operations.refusals import RequestRefused
from models_app.web.access import admin_required
from models_app.web.fit_page import FitPage, fit_page
from models_app.web.load_form import LoadForm

_BY_TARGET = {"dialog": ("operations/load_dialog.html", "dialog"), "load-panel": ("fleet/load_panel.html", "load")}


@require_safe
@admin_required
def page(request: HttpRequest) -> HttpResponse:
    """``GET /load/``: the form as filled so far, with the preview of what it asks for."""
    template, id_prefix = template_for(request)
    return render(request, template, context_of(LoadForm(request.GET, id_prefix=id_prefix)))


def template_for(request: HttpRequest) -> tuple[str, str]:
    """Which template shows the form where the browser asked for it, and the prefix that keeps its ids apart."""
    target = request.htmx.target or "" if getattr(request, "htmx", None) else ""  # type: ignore[attr-defined]
    if target == "swap-form":
        return "operations/load_form.html", "dialog"
    return _BY_TARGET.get(target, ("operations/load.html", "page"))


def context_of(form: LoadForm, refused: RequestRefused | None = None) -> dict[str, Any]:
    """The form, whether it fits, and the flag that would accept what was refused."""
    if refused:
        form.refuse(refused)
    return {"form": form, "fit": _fit(form), "refused": refused, "accept": accepting(refused)}


def accepting(refused: RequestRefused | None) -> tuple[str, str] | None:
    """The field and the button's words by which the person may go ahead all the same; ``None`` where they may not."""
    return _ACCEPTING.get(refused.code) if refused else None


_ACCEPTING = {
    "does_not_fit": ("load_anyway", "Load anyway"),
    "loaded_with_other_options": ("reload", "Reload with these options"),
    "pinned": ("confirmed", "Unload it all the same"),
    "loaded_by_another": ("confirmed", "Unload it all the same"),
    "foreign_model": ("confirmed", "Change it all the same"),
    "model_in_use": ("confirmed", "Unload and delete"),
}


def _fit(form: LoadForm) -> FitPage | None:
    try:
        return fit_page(form)
    except RequestRefused as refused:
        form.refuse(refused)
        return None
