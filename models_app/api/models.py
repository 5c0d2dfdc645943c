"""``/models``: the catalog's variants and where each is installed; ``/loaded-models``: what is in memory now."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import BaseModel, ConfigDict

from models_app.api.auth import acting
from models_app.api.errors import Problem
from models_app.api.operations import problem_of
from models_app.api.paging import Columns, Listing, Page
from models_app.backends.protocol import ModelState
from models_app.catalog.models import Installation, Variant
from models_app.inventory.models import Endpoint, LoadedModel, Residency
from models_app.operations.refusals import RequestRefused
from models_app.operations.requests import set_pinned


class InstallationOut(BaseModel):
    """Where a variant is installed, and the name to load it by there."""

    endpoint: str
    endpoint_id: int
    name: str
    size_bytes: int


class ModelOut(BaseModel):
    """One variant: a model in one quantisation. Null where the number is not known."""

    id: int
    name: str
    model: str
    digest: str
    quantization: str
    architecture: str
    file_size_bytes: int
    parameter_count: int | None
    layer_count: int | None
    kv_head_count: int | None
    training_context_length: int | None
    is_embedding: bool
    installations: list[InstallationOut]


class LoadedModelOut(BaseModel):
    """A model in memory. ``vram_bytes`` is the endpoint's claim, ``gpu_bytes`` (by GPU UUID) what was measured.

    Where ``is_current`` is false the endpoint does not answer: it was last seen in memory at ``last_seen_at``.
    ``loaded_by`` names who asked Berth for it, and is null for a model that another client loaded.
    """

    id: int
    name: str
    endpoint: str
    endpoint_id: int
    host: str
    state: str
    size_bytes: int | None
    vram_bytes: int | None
    gpu_bytes: dict[str, int]
    attributed_by: str
    context_length: int | None
    parallel: int | None
    expires_at: datetime | None
    kept_forever: bool
    pinned: bool
    loaded_by: str | None
    first_seen_at: datetime
    last_seen_at: datetime
    is_current: bool


class PinIn(Schema):
    """Whether the model is to stay until somebody confirms otherwise."""

    model_config = ConfigDict(extra="forbid")

    pinned: bool


models = Router(tags=["models"])
loaded = Router(tags=["loaded models"])

MODELS = Listing[Variant](
    sorts={
        "id": "id",
        "name": "name,digest",
        "model": "model__name",
        "quantization": "quantization",
        "file_size_bytes": "file_size_bytes",
        "parameter_count": "parameter_count",
        "created_at": "created_at",
    },
    default_sort="name",
    filters={
        "name": "name",
        "model": "model__name",
        "quantization": "quantization",
        "architecture": "architecture",
        "is_embedding": "is_embedding",
        "endpoint": "installations__endpoint__name",
        "endpoint_id": "installations__endpoint_id",
    },
    searches=("name", "model__name", "quantization"),
    to_many=frozenset({"endpoint", "endpoint_id"}),
)
LOADED = Listing[LoadedModel](
    sorts={
        "id": "id",
        "name": "name",
        "endpoint": "endpoint__name",
        "host": "endpoint__host__name",
        "state": "state",
        "vram_bytes": "vram_bytes",
        "first_seen_at": "first_seen_at",
        "expires_at": "expires_at",
    },
    default_sort="endpoint,name",
    filters={
        "name": "name",
        "endpoint": "endpoint__name",
        "endpoint_id": "endpoint_id",
        "host": "endpoint__host__name",
        "state": "state",
    },
    searches=("name", "endpoint__name"),
    choices={"state": frozenset(ModelState)},
)


MODEL_COLUMNS = Columns.of(ModelOut, without={"installations"}, model="model__name")
INSTALLATION_COLUMNS = Columns.of(InstallationOut, endpoint="endpoint__name", variant_id="variant_id")
LOADED_COLUMNS = Columns.of(
    LoadedModelOut,
    without={"pinned", "loaded_by", "is_current"},
    endpoint="endpoint__name",
    host="endpoint__host__name",
    endpoint_state="endpoint__state",
)


@models.get("", response=Page[ModelOut], summary="List models", openapi_extra=MODELS.describe())
def list_models(request: HttpRequest) -> dict[str, Any]:
    page = MODELS.table(request, Variant.objects.all(), MODEL_COLUMNS)
    return {**page, "items": _with_installations(page["items"])}


@models.get("/{int:model_id}", response=ModelOut, summary="One model")
def get_model(request: HttpRequest, model_id: int) -> dict[str, Any]:
    return _with_installations([MODEL_COLUMNS.one(Variant.objects.filter(pk=model_id))])[0]


@loaded.get("", response=Page[LoadedModelOut], summary="List the models in memory", openapi_extra=LOADED.describe())
def list_loaded_models(request: HttpRequest) -> dict[str, Any]:
    page = LOADED.table(request, LoadedModel.objects.all(), LOADED_COLUMNS)
    return {**page, "items": _with_residencies(page["items"])}


@loaded.get("/{int:loaded_model_id}", response=LoadedModelOut, summary="One model in memory")
def get_loaded_model(request: HttpRequest, loaded_model_id: int) -> dict[str, Any]:
    found = LOADED_COLUMNS.read(LoadedModel.objects.filter(pk=loaded_model_id))
    if not found:
        raise _not_in_memory()
    return _with_residencies(found)[0]


@loaded.post("/{int:loaded_model_id}/pin", response=LoadedModelOut, summary="Pin a model in memory, or let go of it")
def change_pin(request: HttpRequest, loaded_model_id: int, body: PinIn) -> dict[str, Any]:
    """A pinned model is unloaded only when confirmed, and never to make way. Only what Berth loaded can be pinned."""
    row = LoadedModel.objects.select_related("endpoint").filter(pk=loaded_model_id).first()
    if row is None:
        raise _not_in_memory()
    try:
        set_pinned(acting(request), row.endpoint, row.name, body.pinned)
    except RequestRefused as refused:
        raise problem_of(refused) from None
    return get_loaded_model(request, loaded_model_id)


def _not_in_memory() -> Problem:
    return Problem(404, "not_found", "No model in memory has that id; it may have been unloaded.")


def _with_installations(models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    places: dict[int, list[dict[str, Any]]] = {model["id"]: [] for model in models}
    rows = Installation.objects.filter(variant__in=places).order_by("id")
    for place in INSTALLATION_COLUMNS.read(rows):
        places[place["variant_id"]].append(place)
    return [{**model, "installations": places[model["id"]]} for model in models]


def _with_residencies(models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With who asked Berth for each, whether it is to stay, and whether its endpoint answers."""
    intended = Residency.objects.filter(endpoint__in={model["endpoint_id"] for model in models}, lost_at=None)
    columns = intended.values_list("endpoint_id", "name", "pinned", "requested_by")
    by_place = {(endpoint_id, name): found for endpoint_id, name, *found in columns}
    shown = []
    for model in models:
        pinned, requested_by = by_place.get((model["endpoint_id"], model["name"]), (False, None))
        is_current = model["endpoint_state"] == Endpoint.State.ONLINE
        shown.append({**model, "pinned": pinned, "loaded_by": requested_by, "is_current": is_current})
    return shown
