"""Servers that Berth starts itself: adding, watching, changing and removing one. A start or a stop is an operation."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from models_app.agent.supervision.files import FileHeader
from models_app.agent.supervision.ollama import OllamaSpec
from models_app.agent.supervision.spec import ServerSpec
from models_app.backends.errors import BackendError
from models_app.inventory import managed
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.guards import losses
from models_app.inventory.models import Endpoint, Host
from models_app.inventory.server_hosts import server_host
from models_app.operations.in_use import in_use
from models_app.operations.refusals import RequestRefused
from models_app.operations.server_specs import OPTIONS, spec_preview
from models_app.operations.verdicts import FitPreview
from models_app.web.access import admin_required, member_required
from models_app.web.confirm import Question, ask
from models_app.web.losses import loss_sentences
from models_app.web.people import acting
from models_app.web.server_form import ServerForm, initial_for, initial_of
from models_app.web.server_page import server_page
from models_app.web.server_saving import added, allow_file_of, updated
from models_app.web.views import ollamas


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: HttpRequest, host_id: int) -> HttpResponse:
    """Choose a file first; then its settings, with what they would take."""
    host = get_object_or_404(Host, pk=host_id)
    path = request.POST.get("model") or request.GET.get("model", "")
    if not path:
        return _files(request, host)
    try:
        machine = server_host(host)
        file, binaries = machine.read_file(path), machine.programs()
    except BackendError as error:
        return _files(request, host, error)
    form = ServerForm(
        host, binaries, request.POST or (request.GET if "name" in request.GET else None), initial=initial_for(path)
    )
    if request.method == "POST" and (endpoint := added(request, host, form)):
        messages.success(request, f"{endpoint.name} is added. Start it to load its model.")
        return redirect("server", endpoint.pk)
    return _settings(request, "servers/add.html", form, file, {"host": host, "address": request.path})


@member_required
@require_safe
def detail(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    """Its state, its settings and the end of its log."""
    return render(request, "servers/detail.html", {"page": server_page(_managed(endpoint_id))})


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    """Other settings; a server that runs keeps its own until it is restarted."""
    endpoint = _managed(endpoint_id)
    spec = managed.spec_of(endpoint)
    if isinstance(spec, OllamaSpec):
        return ollamas.edit(request, endpoint, spec)
    assert isinstance(spec, ServerSpec)  # noqa: S101 - there is no third kind
    try:
        machine = server_host(endpoint.host)
        file, binaries = machine.read_file(spec.model), machine.programs()
    except BackendError as error:
        file, binaries = FileHeader(spec.model, 0, problem=error.message), []
    data = request.POST or (request.GET if "name" in request.GET else None)
    offered = {name: request.GET[name] for name in OPTIONS if name in request.GET}
    form = ServerForm(endpoint.host, binaries, data, initial=initial_of(spec) | {"endpoint_name": endpoint.name} | offered)
    if request.method == "POST" and updated(request, endpoint, form):
        return redirect("server", endpoint.pk)
    return _settings(request, "servers/edit.html", form, file, {"endpoint": endpoint, "address": request.path})


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    """Stop a server and remove it, once confirmed."""
    endpoint = _managed(endpoint_id)
    if request.method != "POST":
        return ask(request, _removal(endpoint))
    try:
        managed.remove_managed(acting(request), endpoint, guard=in_use)
    except InventoryRefused as refused:
        return ask(request, _removal(endpoint), refusal=f"{refused.message} {refused.hint}".strip(), status=409)
    messages.success(request, f"{endpoint.name} is stopped and removed. Files of models stay.")
    return redirect("hosts")


def _managed(endpoint_id: int) -> Endpoint:
    return get_object_or_404(Endpoint.objects.select_related("host", "managed").exclude(managed=None), pk=endpoint_id)


def _files(request: HttpRequest, host: Host, problem: BackendError | None = None) -> HttpResponse:
    wanted = request.GET.get("q", "")[:200]
    context: dict[str, Any] = {"host": host, "wanted": wanted, "problem": problem, "allow_file": allow_file_of(host)}
    if problem is None:
        try:
            context["listing"] = server_host(host).list_files(wanted)
        except BackendError as error:
            context["problem"] = error
    return render(request, "servers/files.html", context, status=422 if problem else 200)


def _settings(
    request: HttpRequest, template: str, form: ServerForm, file: FileHeader, context: dict[str, Any]
) -> HttpResponse:
    host = context["host"] if "host" in context else context["endpoint"].host
    preview = _preview(form, host, file)
    is_refused = request.method == "POST"
    return render(
        request, template, context | {"form": form, "file": file, "preview": preview}, status=422 if is_refused else 200
    )


def _preview(form: ServerForm, host: Host, file: FileHeader) -> FitPreview | None:
    """``None`` where the form says nothing that could be reckoned; why stands beside its fields once it is sent."""
    try:
        return spec_preview(host, form.spec(), file)
    except RequestRefused as refused:
        if form.is_bound and not form.errors:
            form.refuse_request(refused)
        return None


def _removal(endpoint: Endpoint) -> Question:
    return Question(
        title=f"Stop and remove {endpoint.name}?",
        consequences=(
            *loss_sentences(losses(endpoint)),
            "Its server is stopped at once: requests under way fail. Its log and its key go; files of models stay.",
        ),
        action="Stop and remove",
        back=reverse("server", args=[endpoint.pk]),
        address=reverse("server_remove", args=[endpoint.pk]),
    )
