"""Ollama servers that Berth starts itself: adding and changing one, starting and stopping it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from models_app.agent.managed import OllamaChoices
from models_app.agent.supervision.ollama import OllamaSpec
from models_app.backends.errors import BackendError, NotAllowed
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.models import Endpoint, Host, LoadedModel
from models_app.inventory.ollama_servers import restart_ollama, start_ollama, stop_ollama
from models_app.inventory.server_hosts import server_host
from models_app.operations.in_use import in_use
from models_app.web.access import admin_required
from models_app.web.confirm import Question, ask
from models_app.web.ollama_form import OllamaForm, initial_of_ollama
from models_app.web.people import acting
from models_app.web.server_saving import added, allow_file_of, updated


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: HttpRequest, host_id: int) -> HttpResponse:
    """A name, its GPUs, a folder of models and the settings."""
    host = get_object_or_404(Host, pk=host_id)
    try:
        choices = _choices(host)
    except BackendError as error:
        return _refused(request, host, error)
    initial = {"models": choices.folders[0] if choices.folders else ""}
    form = OllamaForm(host, choices, request.POST or None, initial=initial)
    if request.method == "POST" and (endpoint := added(request, host, form)):
        messages.success(request, f"{endpoint.name} is added. Start it to load models there.")
        return redirect("server", endpoint.pk)
    return _form(request, form, choices, {"host": host, "back": reverse("hosts"), "save": "Add the Ollama"})


def edit(request: HttpRequest, endpoint: Endpoint, spec: OllamaSpec) -> HttpResponse:
    """Other settings; a server that runs keeps its own until it is restarted. Called for admins."""
    try:
        choices = _choices(endpoint.host)
    except BackendError as error:
        return _refused(request, endpoint.host, error)
    initial = initial_of_ollama(spec) | {"endpoint_name": endpoint.name}
    form = OllamaForm(endpoint.host, choices, request.POST or None, initial=initial)
    if request.method == "POST" and updated(request, endpoint, form):
        return redirect("server", endpoint.pk)
    back = reverse("server", args=[endpoint.pk])
    return _form(request, form, choices, {"host": endpoint.host, "endpoint": endpoint, "back": back, "save": "Save"})


@admin_required
@require_POST
def start(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    """Start it and wait until it serves."""
    endpoint = _endpoint(endpoint_id)
    try:
        start_ollama(acting(request), endpoint)
        messages.success(request, f"{endpoint.name} runs.")
    except InventoryRefused as refused:
        messages.error(request, f"{refused.message} {refused.hint}".strip())
    return redirect("server", endpoint.pk)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def stop(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    """Stop it, once confirmed."""
    endpoint = _endpoint(endpoint_id)
    return _once_confirmed(request, endpoint, _question(endpoint, "Stop", "server_stop"), stop_ollama, "is stopped")


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def restart(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    """Stop it and start it with its settings of now, once confirmed."""
    endpoint = _endpoint(endpoint_id)
    question = _question(endpoint, "Restart", "server_restart")
    return _once_confirmed(request, endpoint, question, restart_ollama, "runs with its settings of now")


def _once_confirmed(
    request: HttpRequest, endpoint: Endpoint, question: Question, act: Callable[..., object], done: str
) -> HttpResponse:
    if request.method != "POST":
        return ask(request, question)
    try:
        act(acting(request), endpoint, guard=in_use)
    except InventoryRefused as refused:
        return ask(request, question, refusal=f"{refused.message} {refused.hint}".strip(), status=409)
    messages.success(request, f"{endpoint.name} {done}.")
    return redirect("server", endpoint.pk)


def _endpoint(endpoint_id: int) -> Endpoint:
    return get_object_or_404(Endpoint.objects.select_related("host", "managed").exclude(managed=None), pk=endpoint_id)


def _choices(host: Host) -> OllamaChoices:
    """What the owner of the machine allows. Raises ``BackendError``, also where that is no Ollama."""
    choices = server_host(host).ollama_choices()
    if not choices.programs:
        raise NotAllowed(f"{allow_file_of(host)} names no Ollama.")
    return choices


def _refused(request: HttpRequest, host: Host, error: BackendError) -> HttpResponse:
    context = {"host": host, "problem": error, "allow_file": allow_file_of(host)}
    return render(request, "servers/ollama_refused.html", context, status=422)


def _form(request: HttpRequest, form: OllamaForm, choices: OllamaChoices, context: dict[str, Any]) -> HttpResponse:
    context |= {"form": form, "choices": choices, "allow_file": allow_file_of(context["host"])}
    return render(request, "servers/ollama.html", context, status=422 if request.method == "POST" else 200)


def _question(endpoint: Endpoint, action: str, page: str) -> Question:
    loaded = list(LoadedModel.objects.filter(endpoint=endpoint).values_list("name", flat=True))
    lost = f"Out of memory: {', '.join(loaded)}." if loaded else "It has no model in memory."
    return Question(
        title=f"{action} {endpoint.name}?",
        consequences=(lost, "Requests under way fail. Its settings, its log and the files of its models stay."),
        action=action,
        back=reverse("server", args=[endpoint.pk]),
        address=reverse(page, args=[endpoint.pk]),
    )
