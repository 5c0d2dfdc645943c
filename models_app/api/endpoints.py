"""``/endpoints``: the Ollamas and llama-servers. Their keys are never shown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router
from pydantic import BaseModel

from models_app.api.paging import Columns, Listing, Page
from models_app.backends.protocol import BackendKind
from models_app.inventory.models import Endpoint


class EndpointOut(BaseModel):
    """An endpoint. ``load_options`` are the options that a load there can honour."""

    id: int
    name: str
    host: str
    host_id: int
    kind: str
    mode: str
    url: str
    has_api_key: bool
    version: str
    capabilities: list[str]
    load_options: list[str]
    warnings: list[str]
    state: str
    state_code: str
    state_message: str
    state_hint: str
    last_seen_at: datetime | None
    discovered: bool


router = Router(tags=["endpoints"])
LISTING = Listing[Endpoint](
    sorts={"id": "id", "name": "name", "host": "host__name", "kind": "kind", "state": "state", "version": "version"},
    default_sort="name",
    filters={"name": "name", "host": "host__name", "host_id": "host_id", "kind": "kind", "state": "state"},
    searches=("name", "url", "host__name"),
    choices={"kind": frozenset(BackendKind), "state": frozenset(Endpoint.State.values)},
)


COLUMNS = Columns.of(EndpointOut, host="host__name", has_api_key="api_key")


@router.get("", response=Page[EndpointOut], summary="List endpoints", openapi_extra=LISTING.describe())
def list_endpoints(request: HttpRequest) -> dict[str, Any]:
    page = LISTING.table(request, Endpoint.objects.all(), COLUMNS)
    return {**page, "items": [_shown(row) for row in page["items"]]}


@router.get("/{int:endpoint_id}", response=EndpointOut, summary="One endpoint")
def get_endpoint(request: HttpRequest, endpoint_id: int) -> dict[str, Any]:
    return _shown(COLUMNS.one(Endpoint.objects.filter(pk=endpoint_id)))


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """The row as the API shows it: of its key only whether it has one."""
    options = [public_option(name) for name in row["load_options"]]
    return {**row, "has_api_key": bool(row["has_api_key"]), "load_options": options}


def public_option(option: str) -> str:
    """The option under its name in the API."""
    return "keep_alive" if option == "keep_alive_seconds" else option


def public_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options under their names in the API."""
    return {public_option(name): value for name, value in options.items()}
