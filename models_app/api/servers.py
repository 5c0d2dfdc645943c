"""``/managed-servers``: the llama-servers that Berth starts itself. A start, stop or restart is an operation.

``POST /operations`` with ``load``, ``unload`` or ``restart`` on the server's endpoint does it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from asgiref.sync import async_to_sync
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from ninja import Field, Query, Router, Schema, Status
from pydantic import BaseModel, ConfigDict

from models_app.api.auth import acting
from models_app.api.errors import Problem
from models_app.api.operations import problem_of
from models_app.api.paging import Listing, Page
from models_app.backends.errors import BackendError
from models_app.backends.protocol import ServerState
from models_app.inventory import managed
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.models import Endpoint, Host, ManagedServer
from models_app.inventory.refresh import refresh_installed
from models_app.inventory.server_hosts import server_host
from models_app.operations.in_use import in_use
from models_app.operations.refusals import RequestRefused
from models_app.operations.server_specs import parse_spec

MOST_LOG_LINES = 1000
HostReference = Annotated[int | str, Field(description="The host's id or its name.", union_mode="left_to_right")]


class SettingsIn(Schema):
    """How a server is started. What is left out is llama-server's own choice."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="What the server calls its model.", max_length=200)
    model: str = Field(description="The whole path of a GGUF file in a folder that the host's owner allows.")
    binary: str = Field("", description="The allow-list's name of the program; empty for its first.")
    gpus: list[str] = Field([], description="UUIDs of the GPUs that it sees; empty for all.", max_length=64)
    context_length: int | None = Field(None, description="Tokens per slot.")
    parallel: int | None = Field(None, description="Slots.")
    gpu_layers: int | None = None
    batch: int | None = None
    cache_type_k: str | None = None
    cache_type_v: str | None = None
    flash_attention: bool | None = None
    kv_offload: bool | None = Field(None, description="False for a KV cache in host RAM.")
    threads: int | None = None
    extra: list[str] = Field(
        [], description="Further words of the command line, of flags that the owner allows.", max_length=64
    )


class ServerIn(SettingsIn):
    """A new server."""

    host: HostReference
    server_name: str = Field("", description="Empty for the model's name.", max_length=80)


class ServerChange(SettingsIn):
    """All settings anew. A server that runs keeps its own until it is restarted."""

    server_name: str = Field(max_length=80)


class ServerOut(BaseModel):
    """A server. ``must_restart``: it runs with other settings than these. ``problem`` is how it last ended unasked."""

    id: int
    endpoint_id: int
    server_name: str
    host: str
    host_id: int
    settings: dict[str, Any]
    state: str
    process_id: int | None
    port: int | None
    started_at: datetime | None
    restarts: int
    problem: str
    must_restart: bool


class LogOut(BaseModel):
    """The end of a server's log, oldest line first."""

    lines: list[str]


class FileOut(BaseModel):
    """A model file; ``size_bytes`` is that of all its parts."""

    path: str
    size_bytes: int


class FilesOut(BaseModel):
    """Files by path. Where ``is_complete`` is false, search for a part of the path."""

    files: list[FileOut]
    is_complete: bool


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
        found = server_host(_host(host, missing=404)).list_files(search)
    except BackendError as error:
        raise _problem(error) from None
    return FilesOut(
        files=[FileOut(path=each.path, size_bytes=each.size_bytes) for each in found.files], is_complete=found.is_complete
    )


@router.get("/{int:server_id}", response=ServerOut, summary="One managed server")
def get_server(request: HttpRequest, server_id: int) -> ServerOut:
    return server_out(_server(server_id))


@router.get("/{int:server_id}/log", response=LogOut, summary="The end of its log")
def get_log(request: HttpRequest, server_id: int, lines: Annotated[int, Query(ge=1, le=MOST_LOG_LINES)] = 200) -> LogOut:
    try:
        return LogOut(lines=managed.log_tail(_server(server_id).endpoint, lines))
    except BackendError as error:
        raise _problem(error) from None


@router.post("", response={201: ServerOut}, summary="Add a managed server")
def add_server(request: HttpRequest, response: HttpResponse, body: ServerIn) -> Status[ServerOut]:
    """It is not started: load its model for that."""
    host = _host(body.host)
    try:
        endpoint = managed.add_managed(acting(request), host, body.server_name, parse_spec(_settings(body)))
    except RequestRefused as refused:
        raise problem_of(refused) from None
    except InventoryRefused as refused:
        raise _refusal(refused) from None
    server = _refreshed(endpoint)
    response["Location"] = reverse("api:get_server", args=[server.pk])
    return Status(201, server_out(server))


@router.put("/{int:server_id}", response=ServerOut, summary="Change a managed server")
def change_server(request: HttpRequest, server_id: int, body: ServerChange) -> ServerOut:
    server = _server(server_id)
    try:
        managed.update_managed(acting(request), server.endpoint, body.server_name, parse_spec(_settings(body)))
    except RequestRefused as refused:
        raise problem_of(refused) from None
    except InventoryRefused as refused:
        raise _refusal(refused) from None
    return server_out(_refreshed(server.endpoint))


@router.delete("/{int:server_id}", response={204: None}, summary="Stop and remove a managed server")
def remove_server(request: HttpRequest, server_id: int) -> Status[None]:
    """Its process is stopped first, and its log and key go. The model file stays."""
    try:
        managed.remove_managed(acting(request), _server(server_id).endpoint, guard=in_use)
    except InventoryRefused as refused:
        raise _refusal(refused) from None
    return Status(204, None)


def server_out(row: ManagedServer) -> ServerOut:
    """The row as the API shows it."""
    same = ("id", "endpoint_id", "state", "process_id", "port", "started_at", "restarts", "problem")
    return ServerOut(
        **{name: getattr(row, name) for name in same},
        server_name=row.endpoint.name,
        host=row.endpoint.host.name,
        host_id=row.endpoint.host_id,
        settings=row.spec,
        must_restart=managed.must_restart(row),
    )


def _settings(body: SettingsIn) -> dict[str, Any]:
    return {name: getattr(body, name) for name in SettingsIn.model_fields}


def _refreshed(endpoint: Endpoint) -> ManagedServer:
    """With what can be known at once of its file and its program."""
    try:
        async_to_sync(refresh_installed)(endpoint)
    except BackendError as error:
        raise _problem(error) from None
    return _servers().get(endpoint=endpoint)


def _servers() -> QuerySet[ManagedServer]:
    return ManagedServer.objects.select_related("endpoint__host")


def _server(server_id: int) -> ManagedServer:
    return get_object_or_404(_servers(), pk=server_id)


def _host(reference: int | str, *, missing: int = 422) -> Host:
    is_id = isinstance(reference, int) or reference.isdecimal()
    by = {"pk": int(reference)} if is_id else {"name": str(reference).replace("\x00", "")}
    found = Host.objects.filter(**by).first() if not is_id or 0 < int(reference) < 2**63 else None
    if found is None:
        raise Problem(missing, "unknown_host", f"There is no host {str(reference)[:80]!r}.", field="host")
    return found


def _problem(error: BackendError) -> Problem:
    status = 422 if not error.retryable else 503
    return Problem(status, error.code, f"{error.message} {error.hint}".strip())


def _refusal(refused: InventoryRefused) -> Problem:
    status = 409 if refused.code in ("endpoint_in_use", "server_runs") else 422
    return Problem(status, refused.code, f"{refused.message} {refused.hint}".strip(), field=refused.field)
