"""``/endpoints``: the Ollamas and llama-servers. Their keys are never shown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Router
from pydantic import BaseModel

from models_app.api.paging import Listing, Page
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


@router.get("", response=Page[EndpointOut], summary="List endpoints", openapi_extra=LISTING.describe())
def list_endpoints(request: HttpRequest) -> dict[str, Any]:
    return LISTING.page(request, _endpoints(), endpoint_out)


@router.get("/{int:endpoint_id}", response=EndpointOut, summary="One endpoint")
def get_endpoint(request: HttpRequest, endpoint_id: int) -> EndpointOut:
    return endpoint_out(get_object_or_404(_endpoints(), pk=endpoint_id))


def _endpoints() -> QuerySet[Endpoint]:
    return Endpoint.objects.select_related("host")


def endpoint_out(row: Endpoint) -> EndpointOut:
    """The row as the API shows it."""
    return EndpointOut(
        id=row.pk,
        name=row.name,
        host=row.host.name,
        host_id=row.host_id,
        kind=row.kind,
        mode=row.mode,
        url=row.url,
        has_api_key=bool(row.api_key),
        version=row.version,
        capabilities=row.capabilities,
        load_options=[public_option(name) for name in row.load_options],
        warnings=row.warnings,
        state=row.state,
        state_code=row.state_code,
        state_message=row.state_message,
        state_hint=row.state_hint,
        last_seen_at=row.last_seen_at,
        discovered=row.discovered,
    )


def public_option(option: str) -> str:
    """The option under its name in the API."""
    return "keep_alive" if option == "keep_alive_seconds" else option


def public_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options under their names in the API."""
    return {public_option(name): value for name, value in options.items()}
