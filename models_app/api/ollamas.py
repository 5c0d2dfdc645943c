"""``/managed-servers/ollamas``: the Ollama servers that Berth starts itself, each on GPUs of its own.

One of them is read, listed and removed as every managed server, and its models are loaded as those of every Ollama.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from ninja import Router, Status

from models_app.accounts.roles import Actor
from models_app.api.auth import acting
from models_app.api.operations import problem_of
from models_app.api.server_schemas import (
    HostReference,
    OllamaChange,
    OllamaChoicesOut,
    OllamaIn,
    ServerOut,
    server_out,
    spec_in,
)
from models_app.api.servers import host_of, one_server, problem, refusal
from models_app.backends.errors import BackendError
from models_app.backends.protocol import BackendKind
from models_app.inventory import managed
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.models import Endpoint
from models_app.inventory.ollama_servers import look_at, restart_ollama, start_ollama, stop_ollama
from models_app.inventory.server_hosts import server_host
from models_app.operations.in_use import in_use
from models_app.operations.refusals import RequestRefused

router = Router(tags=["managed servers"])


@router.get("/choices", response=OllamaChoicesOut, summary="What a host's owner allows for an Ollama")
def get_choices(request: HttpRequest, host: HostReference) -> OllamaChoicesOut:
    try:
        found = server_host(host_of(host, missing=404)).ollama_choices()
    except BackendError as error:
        raise problem(error) from None
    return OllamaChoicesOut(programs=list(found.programs), folders=list(found.folders))


@router.post("", response={201: ServerOut}, summary="Add an Ollama")
def add_ollama(request: HttpRequest, response: HttpResponse, body: OllamaIn) -> Status[ServerOut]:
    """It is not started yet."""
    host = host_of(body.host)
    endpoint = _saved(lambda: managed.add_managed(acting(request), host, body.server_name, spec_in(body, body.server_name)))
    response["Location"] = reverse("api:get_server", args=[endpoint.managed.pk])
    return Status(201, _out(endpoint.managed.pk))


@router.put("/{int:server_id}", response=ServerOut, summary="Change an Ollama")
def change_ollama(request: HttpRequest, server_id: int, body: OllamaChange) -> ServerOut:
    endpoint = one_server(server_id, BackendKind.OLLAMA).endpoint
    name = body.server_name
    _saved(lambda: managed.update_managed(acting(request), endpoint, name, spec_in(body, name)))
    return _out(server_id)


@router.post("/{int:server_id}/start", response=ServerOut, summary="Start an Ollama")
def start(request: HttpRequest, server_id: int) -> ServerOut:
    """Answers once it serves, or says why it does not."""
    return _act(request, server_id, start_ollama)


@router.post("/{int:server_id}/stop", response=ServerOut, summary="Stop an Ollama")
def stop(request: HttpRequest, server_id: int) -> ServerOut:
    """What it has in memory goes with it."""
    return _act(request, server_id, lambda actor, endpoint: stop_ollama(actor, endpoint, guard=in_use))


@router.post("/{int:server_id}/restart", response=ServerOut, summary="Restart an Ollama")
def restart(request: HttpRequest, server_id: int) -> ServerOut:
    """It then runs with its settings of now."""
    return _act(request, server_id, lambda actor, endpoint: restart_ollama(actor, endpoint, guard=in_use))


def _act(request: HttpRequest, server_id: int, act: Callable[[Actor, Endpoint], None]) -> ServerOut:
    try:
        act(acting(request), one_server(server_id, BackendKind.OLLAMA).endpoint)
    except InventoryRefused as refused:
        raise refusal(refused) from None
    return _out(server_id)


def _saved(save: Callable[[], Endpoint]) -> Endpoint:
    try:
        endpoint = save()
    except RequestRefused as refused:
        raise problem_of(refused) from None
    except InventoryRefused as refused:
        raise refusal(refused) from None
    look_at(endpoint)
    return endpoint


def _out(server_id: int) -> ServerOut:
    return server_out(one_server(server_id))
