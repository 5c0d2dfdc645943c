"""Operations: a click is ``POST /operations/``; each has a page of its own."""

from __future__ import annotations

import json
from dataclasses import replace

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from models_app.accounts.roles import is_admin
from models_app.inventory.models import Endpoint, LoadedModel, Residency
from models_app.inventory.references import row_id
from models_app.operations.models import Operation
from models_app.operations.options import parse_options
from models_app.operations.refusals import RequestRefused
from models_app.operations.requests import Request, request_cancel, set_pinned, submit
from models_app.web.access import admin_required, member_required
from models_app.web.confirm import Question, ask, in_dialog
from models_app.web.load_form import LoadForm
from models_app.web.people import acting, signed_in
from models_app.web.templatetags.berth import short_name
from models_app.web.views import operation_pages
from models_app.web.views.keep_alive import form_response
from models_app.web.views.load import accepting, context_of, template_for

Kind = Operation.Kind


@require_http_methods(["GET", "HEAD", "POST"])
@member_required
def collection(request: HttpRequest) -> HttpResponseBase:
    """The list, or for admins a new operation."""
    if request.method == "POST":
        return create(request)
    return operation_pages.index(request)


def create(request: HttpRequest) -> HttpResponse:
    """Ask for what the form says; what is refused comes back with everything that was typed and what to do."""
    if not is_admin(request.user):
        raise PermissionDenied("Only admins can do this.")
    try:
        asked = _request(request)
        _check_whose(request, asked)
        return _accepted(request, submit(asked))
    except RequestRefused as refused:
        return _refused(request, refused)


def _request(request: HttpRequest) -> Request:
    data = request.POST
    kind = data.get("kind", "")
    if kind not in Kind.values:
        raise RequestRefused("invalid_kind", f"There is no operation of the kind “{kind[:40]}”.", field="kind")
    asked = Request(
        Kind(kind),
        acting(request),
        _endpoint(data.get("endpoint", "")),
        data.get("model", ""),
        load_anyway=bool(data.get("load_anyway")),
        reload=bool(data.get("reload")),
        confirmed=bool(data.get("confirmed")),
        idempotency_key=data.get("idempotency_key", "")[:255],
    )
    if kind in (Kind.LOAD, Kind.SWAP):
        form = LoadForm(data)
        return replace(asked, options=form.options(), unload=form.unload_ids)
    if kind == Kind.SET_KEEP_ALIVE:
        return replace(asked, options=parse_options({"keep_alive": data.get("keep_alive")}))
    return asked


def _endpoint(value: str) -> Endpoint:
    row = Endpoint.objects.filter(pk=row_id(value)).select_related("host").first()
    if row is None:
        raise RequestRefused("unknown_endpoint", "Choose where: this endpoint is not there any more.", field="endpoint")
    return row


def _check_whose(request: HttpRequest, asked: Request) -> None:
    """People confirm before they unload what somebody else loaded."""
    if asked.kind not in (Kind.UNLOAD, Kind.RESTART) or asked.confirmed:
        return
    loaded = LoadedModel.objects.filter(endpoint=asked.endpoint, name=asked.model).first()
    owner = Residency.objects.filter(endpoint=asked.endpoint, name=asked.model, lost_at=None).first()
    if loaded and (owner is None or owner.requested_by != signed_in(request).get_username()):
        by = owner.requested_by if owner else "another client"
        message = f"{asked.model} on {asked.endpoint.name} was loaded by {by}, not by you. Requests under way may fail."
        raise RequestRefused("loaded_by_another", message, status=409, loaded=loaded)


def _accepted(request: HttpRequest, operation: Operation) -> HttpResponse:
    words = f"{operation.get_kind_display()} {operation.model_name} on {operation.site.name}: {operation.state}."
    return done(request, words, f"/operations/{operation.pk}/")


def done(request: HttpRequest, words: str, address: str) -> HttpResponse:
    """To a script on the page: a short message, for the live socket brings the rest. To a plain form: the next page."""
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponse(status=204, headers={"HX-Trigger": json.dumps({"berth:done": {"words": words}})})
    messages.success(request, words)
    return redirect(address)


def _refused(request: HttpRequest, refused: RequestRefused) -> HttpResponse:
    if request.POST.get("kind") in (Kind.LOAD, Kind.SWAP):
        template, id_prefix = template_for(request)
        context = context_of(LoadForm(request.POST, id_prefix=id_prefix), refused)
        return render(request, template, context, status=refused.status)
    if request.POST.get("kind") == Kind.SET_KEEP_ALIVE and "keep_alive" in refused.errors:
        endpoint_id = row_id(request.POST.get("endpoint", ""))
        loaded = get_object_or_404(LoadedModel, endpoint=endpoint_id, name=request.POST.get("model"))
        return form_response(request, loaded, refused)
    return confirm(request, refused)


def confirm(request: HttpRequest, refused: RequestRefused) -> HttpResponse:
    """Why not, and where the person may insist: the same request with the flag that does."""
    again = [(name, value) for name, values in request.POST.lists() if name != "csrfmiddlewaretoken" for value in values]
    flag, words = accepting(refused) or ("", "")
    if words and request.POST.get("kind") == Kind.MEASURE_SPEED:
        words = "Measure it all the same"
    busy = refused.operation
    question = Question(
        title=_title(request) if words else "Not now",
        consequences=(refused.message,),
        action=words,
        back=reverse("fleet"),
        address=reverse("operations"),
        fields=tuple(again),
        flag=flag,
        keep="Leave it" if words else "Back",
        in_place=True,
        see=(reverse("operation", args=[busy.pk]), f"Operation {busy.pk} is in the way") if busy else None,
    )
    return in_dialog(ask(request, question, status=refused.status))


def _title(request: HttpRequest) -> str:
    kind, model = request.POST.get("kind", ""), request.POST.get("model", "")
    if kind not in Kind.values or not model:
        return "Are you sure?"
    of = " of" if kind in (Kind.SET_KEEP_ALIVE, Kind.MEASURE_SPEED) else ""
    return f"{Kind(kind).label}{of} {short_name(model)}?"


@require_POST
@admin_required
def cancel(request: HttpRequest, operation_id: int) -> HttpResponse:
    """Stop an operation that has not ended."""
    operation = get_object_or_404(Operation.objects.select_related("endpoint__host"), pk=operation_id)
    try:
        request_cancel(acting(request), operation)
    except RequestRefused as refused:
        return confirm(request, refused)
    return done(request, f"Cancelling {operation.get_kind_display().lower()} {operation.model_name}.", "./..")


@require_POST
@admin_required
def loaded_model(request: HttpRequest, loaded_id: int) -> HttpResponse:
    """Pin or unpin a loaded model."""
    row = get_object_or_404(LoadedModel.objects.select_related("endpoint__host"), pk=loaded_id)
    pinned = request.POST.get("pinned") == "on"
    try:
        set_pinned(acting(request), row.endpoint, row.name, pinned)
    except RequestRefused as refused:
        return confirm(request, refused)
    told = f"{row.name} is {'pinned' if pinned else 'no longer pinned'}."
    if pinned and row.expires_at:
        told += " Berth lets nothing push it out, but its server still unloads it when idle: change its keep-alive, too."
    return done(request, told, "/")
