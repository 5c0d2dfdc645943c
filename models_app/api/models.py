"""``/models``: the catalog's variants and where each is installed; ``/loaded-models``: what is in memory now."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Router
from pydantic import BaseModel

from models_app.api.errors import Problem
from models_app.api.paging import Listing, Page
from models_app.backends.protocol import ModelState
from models_app.catalog.models import Installation, Variant
from models_app.inventory.models import LoadedModel, Residency


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


models = Router(tags=["models"])
loaded = Router(tags=["loaded models"])

MODELS = Listing[Variant](
    sorts={
        "id": "id",
        "name": "name",
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


@models.get("", response=Page[ModelOut], summary="List models", openapi_extra=MODELS.describe())
def list_models(request: HttpRequest) -> dict[str, Any]:
    return MODELS.page(request, _variants(), model_out)


@models.get("/{int:model_id}", response=ModelOut, summary="One model")
def get_model(request: HttpRequest, model_id: int) -> ModelOut:
    return model_out(get_object_or_404(_variants(), pk=model_id))


@loaded.get("", response=Page[LoadedModelOut], summary="List the models in memory", openapi_extra=LOADED.describe())
def list_loaded_models(request: HttpRequest) -> dict[str, Any]:
    page = LOADED.page(request, LoadedModel.objects.select_related("endpoint__host"), lambda row: row)
    return {**page, "items": _loaded_out(page["items"])}


@loaded.get("/{int:loaded_model_id}", response=LoadedModelOut, summary="One model in memory")
def get_loaded_model(request: HttpRequest, loaded_model_id: int) -> LoadedModelOut:
    row = LoadedModel.objects.select_related("endpoint__host").filter(pk=loaded_model_id).first()
    if row is None:
        raise Problem(404, "not_found", "No model in memory has that id; it may have been unloaded.")
    return _loaded_out([row])[0]


def _variants() -> QuerySet[Variant]:
    shown = Installation.objects.select_related("endpoint").only("variant", "name", "size_bytes", "endpoint__name")
    installations = Prefetch("installations", shown.order_by("id"))
    return Variant.objects.select_related("model").prefetch_related(installations)


def model_out(row: Variant) -> ModelOut:
    """The row as the API shows it."""
    return ModelOut(
        id=row.pk,
        name=row.name,
        model=row.model.name,
        digest=row.digest,
        quantization=row.quantization,
        architecture=row.architecture,
        file_size_bytes=row.file_size_bytes,
        parameter_count=row.parameter_count,
        layer_count=row.layer_count,
        kv_head_count=row.kv_head_count,
        training_context_length=row.training_context_length,
        is_embedding=row.is_embedding,
        installations=[
            InstallationOut(
                endpoint=place.endpoint.name, endpoint_id=place.endpoint_id, name=place.name, size_bytes=place.size_bytes
            )
            for place in row.installations.all()
        ],
    )


def _loaded_out(rows: list[LoadedModel]) -> list[LoadedModelOut]:
    intended = Residency.objects.filter(endpoint__in={row.endpoint_id for row in rows}, lost_at=None)
    by_place = {(residency.endpoint_id, residency.name): residency for residency in intended}
    return [_one_loaded(row, by_place.get((row.endpoint_id, row.name))) for row in rows]


def _one_loaded(row: LoadedModel, residency: Residency | None) -> LoadedModelOut:
    return LoadedModelOut(
        id=row.pk,
        name=row.name,
        endpoint=row.endpoint.name,
        endpoint_id=row.endpoint_id,
        host=row.endpoint.host.name,
        state=row.state,
        size_bytes=row.size_bytes,
        vram_bytes=row.vram_bytes,
        gpu_bytes=row.gpu_bytes,
        attributed_by=row.attributed_by,
        context_length=row.context_length,
        parallel=row.parallel,
        expires_at=row.expires_at,
        kept_forever=row.kept_forever,
        pinned=bool(residency and residency.pinned),
        loaded_by=residency.requested_by if residency else None,
        first_seen_at=row.first_seen_at,
    )
