"""``/managed-servers``: the servers that Berth starts itself. What is an Ollama's alone is in ``api.ollamas``.

A llama-server's start, stop or restart is an operation: ``POST /operations`` with ``load``, ``unload`` or ``restart`` on
its endpoint.
"""

from __future__ import annotations

from typing import Annotated, Any

from asgiref.sync import async_to_sync
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from ninja import Query, Router, Status

from models_app.api.auth import acting
from models_app.api.errors import Problem
from models_app.api.operations import problem_of
from models_app.api.paging import Listing, Page
from models_app.api.server_schemas import (
    FileOut,
    FilesOut,
    HostReference,
    LogOut,
    ServerChange,
    ServerIn,
    ServerOut,
    server_out,
    spec_in,
)
from models_app.backends.errors import BackendError
from models_app.backends.protocol import BackendKind, ServerState
from models_app.inventory import managed
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.models import Endpoint, Host, ManagedServer
from models_app.inventory.references import row_id
from models_app.inventory.refresh import refresh_installed
from models_app.inventory.server_hosts import server_host
from models_app.operations.in_use import in_use
from models_app.operations.refusals import RequestRefused

MOST_LOG_LINES = 1000

router = Router(tags=["managed servers"])
LISTING = Listing[ManagedServer](
    sorts={"id": "id", "server_name": "endpoint__name", "host": "endpoint__host__name", "state": "state"},
    default_sort="server_name",
    filters={"server_name": "endpoint__name", "host": "endpoint__host__name", "state": "state"},
    searches=("endpoint__name", "endpoint__host__name"),
    choices={"state": frozenset(ServerState)},
)


@router.get("", response=Page[ServerOut], summary="List managed servers", openapi_extra=LISTING.describe())
def list_servers(request: HttpRequest) -> dict[str, Any]:
    return LISTING.page(request, _servers(), server_out)


@router.get("/files", response=FilesOut, summary="Model files that a server can be started with")
def list_model_files(request: HttpRequest, host: HostReference, search: Annotated[str, Query(max_length=200)] = "") -> Any:
    try:
        found = server_host(host_of(host, missing=404)).list_files(search)
    except BackendError as error:
        raise problem(error) from None
    return FilesOut(
        files=[FileOut(path=each.path, size_bytes=each.size_bytes) for each in found.files], is_complete=found.is_complete
    )


@router.get("/{int:server_id}", response=ServerOut, summary="One managed server")
def get_server(request: HttpRequest, server_id: int) -> ServerOut:
    return server_out(one_server(server_id))


@router.get("/{int:server_id}/log", response=LogOut, summary="The end of its log")
def get_log(request: HttpRequest, server_id: int, lines: Annotated[int, Query(ge=1, le=MOST_LOG_LINES)] = 200) -> LogOut:
    try:
        return LogOut(lines=managed.log_tail(one_server(server_id).endpoint, lines))
    except BackendError as error:
        raise problem(error) from None


@router.post("", response={201: ServerOut}, summary="Add a managed llama-server")
def add_server(request: HttpRequest, response: HttpResponse, body: ServerIn) -> Status[ServerOut]:
    """It is not started: load its model for that."""
    host = host_of(body.host)
    try:
        endpoint = managed.add_managed(acting(request), host, body.server_name, spec_in(body, body.server_name))
    except RequestRefused as refused:
        raise problem_of(refused) from None
    except InventoryRefused as refused:
        raise refusal(refused) from None
    server = _refreshed(endpoint)
    response["Location"] = reverse("api:get_server", args=[server.pk])
    return Status(201, server_out(server))


@router.put("/{int:server_id}", response=ServerOut, summary="Change a managed llama-server")
def change_server(request: HttpRequest, server_id: int, body: ServerChange) -> ServerOut:
    server = one_server(server_id, BackendKind.LLAMA_SERVER)
    try:
        managed.update_managed(acting(request), server.endpoint, body.server_name, spec_in(body, body.server_name))
    except RequestRefused as refused:
        raise problem_of(refused) from None
    except InventoryRefused as refused:
        raise refusal(refused) from None
    return server_out(_refreshed(server.endpoint))


@router.delete("/{int:server_id}", response={204: None}, summary="Stop and remove a managed server")
def remove_server(request: HttpRequest, server_id: int) -> Status[None]:
    """Its process is stopped first, and its log and key go. The model file stays."""
    try:
        managed.remove_managed(acting(request), one_server(server_id).endpoint, guard=in_use)
    except InventoryRefused as refused:
        raise refusal(refused) from None
    return Status(204, None)


def _refreshed(endpoint: Endpoint) -> ManagedServer:
    """With what can be known at once of its file and its program."""
    try:
        async_to_sync(refresh_installed)(endpoint)
    except BackendError as error:
        raise problem(error) from None
    return _servers().get(endpoint=endpoint)


def _servers() -> QuerySet[ManagedServer]:
    return ManagedServer.objects.select_related("endpoint__host")


def one_server(server_id: int, *kinds: BackendKind) -> ManagedServer:
    """The server of that id, where it is of one of these kinds. Raises ``Http404``."""
    return get_object_or_404(_servers(), pk=server_id, endpoint__kind__in=kinds or tuple(BackendKind))


def host_of(reference: int | str, *, missing: int = 422) -> Host:
    """The host of that id or name. Raises ``Problem``."""
    pk = row_id(str(reference))
    found = Host.objects.filter(Q(pk=pk) if pk else Q(name=str(reference).replace("\x00", ""))).first()
    if found is None:
        raise Problem(
            missing, "unknown_host", f"There is no host {str(reference)[:80]!r}; GET hosts lists them.", field="host"
        )
    return found


def problem(error: BackendError) -> Problem:
    """What a host answered, as a problem."""
    status = 422 if not error.retryable else 503
    return Problem(status, error.code, f"{error.message} {error.hint}".strip())


def refusal(refused: InventoryRefused) -> Problem:
    """Why the inventory refused, as a problem."""
    status = 409 if refused.code in ("endpoint_in_use", "server_runs") else 422
    return Problem(status, refused.code, f"{refused.message} {refused.hint}".strip(), field=refused.field)
