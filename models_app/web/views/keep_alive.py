"""How long a loaded model stays when idle: the form, with an advised time."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from models_app.inventory.models import LoadedModel
from models_app.operations.refusals import RequestRefused
from models_app.web.access import admin_required
from models_app.web.confirm import in_dialog
from models_app.web.keep_alive_form import KeepAliveForm
from models_app.web.keep_alive_tips import KeepAliveTip, keep_alive_tip


@require_safe
@admin_required
def page(request: HttpRequest, loaded_id: int) -> HttpResponse:
    """The form that changes how long a loaded model stays."""
    row = get_object_or_404(LoadedModel.objects.select_related("endpoint__host"), pk=loaded_id)
    if request.htmx.target == "keep-alive-advice":  # type: ignore[attr-defined]
        return render(request, "operations/keep_alive_advice.html", {"tip": _tip(row, request.GET), "into": "#dialog"})
    return form_response(request, row)


def form_response(request: HttpRequest, row: LoadedModel, refused: RequestRefused | None = None) -> HttpResponse:
    """The form, with what was typed and why it was refused."""
    asked = request.POST if refused else request.GET
    form = KeepAliveForm(asked if refused else None, initial=asked.dict())
    if refused:
        form.is_valid()
        form.add_error("keep_alive", refused.message)
    dialog, page = "operations/keep_alive_dialog.html", "operations/keep_alive.html"
    template = dialog if request.htmx else page  # type: ignore[attr-defined]
    context = {"form": form, "loaded": row, "tip": _tip(row, asked)}
    return in_dialog(render(request, template, context, status=refused.status if refused else 200))


def _tip(row: LoadedModel, asked: QueryDict) -> KeepAliveTip | None:
    often = asked.get("requests_per_hour", "")

    def address(text: str) -> str:
        return f"{reverse('keep_alive', args=[row.pk])}?{urlencode({'keep_alive': text, 'requests_per_hour': often})}"

    return keep_alive_tip(row.endpoint, row.name, often, address)
