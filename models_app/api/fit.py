"""``POST /fit``: whether a model fits, where, and what would make it fit. A question: it changes nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Field, Router, Schema
from pydantic import ConfigDict

from models_app.api.auth import AUTH_TO_READ
from models_app.api.endpoints import public_option
from models_app.api.errors import Problem
from models_app.api.operations import EndpointReference, Options, endpoint_of, problem_of
from models_app.backends.protocol import Capability
from models_app.catalog.find import find_variant
from models_app.catalog.models import Variant
from models_app.estimator.advice import Advice
from models_app.estimator.types import DeviceEstimate, LoadSettings
from models_app.inventory.models import Endpoint, LoadedModel
from models_app.operations.fit import DeviceFit, EndpointFit, fit
from models_app.operations.options import parse_options
from models_app.operations.preview import Freeable
from models_app.operations.refusals import RequestRefused

MOST_ENDPOINTS = 100
ModelReference = Annotated[int | str, Field(description="A variant's id or name.", union_mode="left_to_right")]


class FitIn(Schema):
    """A load that is only thought of. Without ``endpoint`` every endpoint that has the model or could is answered for."""

    model_config = ConfigDict(extra="forbid")

    model: ModelReference
    endpoint: EndpointReference | None = None
    options: Options = {}
    unload: list[int] = Field(default=[], description="Ids of loaded models that will be gone.", max_length=100)


class TermsOut(Schema):
    """What makes up the estimate on one device."""

    weights_bytes: int
    kv_bytes: int
    recurrent_bytes: int
    compute_bytes: int
    overhead_bytes: int
    total_bytes: int


class EvictionOut(Schema):
    """A loaded model, and what its unloading would free here."""

    loaded_model: int
    name: str
    gpu_bytes: int


class DeviceFitOut(Schema):
    """One device on its own; ``gpu`` is its UUID, empty for host RAM. ``available_bytes`` is free now, less what is
    promised to running operations and the headroom, plus what ``unload`` gives back."""

    gpu: str
    name: str
    fit: str
    layers: int | None
    layer_count: int | None
    needed_bytes: int | None
    error_bytes: int
    terms: TermsOut | None
    total_bytes: int
    free_bytes: int
    held_bytes: int
    headroom_bytes: int
    available_bytes: int
    evict: list[EvictionOut]
    free_after_bytes: int | None


class AdviceOut(Schema):
    """One change and what comes of it; ``settings`` are those that differ, in llama.cpp's terms.

    ``speed_factor`` is relative to the model wholly on the GPU, and ``speed_evidence`` names where it comes from.
    """

    remedy: str
    description: str
    saved_bytes: int
    vram_bytes: int
    fits: bool
    quantization: str
    settings: dict[str, Any]
    speed_factor: float
    speed_evidence: str


class PlacedOut(Schema):
    """A device that the server would use, and what it would take of it."""

    gpu: str
    name: str
    take_bytes: int
    error_bytes: int
    terms: TermsOut | None


class EndpointFitOut(Schema):
    """One endpoint. ``verdict`` and the figures are for the load as its server would place it."""

    endpoint: str
    endpoint_id: int
    host: str
    installed_as: str | None
    verdict: str
    sentence: str
    grade: str
    build_profile: str
    context_length: int
    weights_bytes: int | None
    kv_bytes: int | None
    compute_bytes: int
    overhead_bytes: int
    ram_bytes: int
    needed_bytes: int | None
    error_bytes: int
    shortfall_bytes: int
    placed_on: list[PlacedOut]
    evict: list[EvictionOut]
    devices: list[DeviceFitOut]
    advice: list[AdviceOut]
    notes: list[str]


class FitOut(Schema):
    """The answer for each endpoint."""

    model: str
    model_id: int
    quantization: str
    options: dict[str, Any]
    endpoints: list[EndpointFitOut]


router = Router(tags=["models"], auth=AUTH_TO_READ)


@router.post("", response=FitOut, summary="Whether a model fits, and what would make it fit")
def ask_whether_it_fits(request: HttpRequest, body: FitIn) -> FitOut:
    """Reading is enough: nothing is loaded, reserved or written."""
    endpoint = None if body.endpoint is None else endpoint_of(body.endpoint)
    variant = _variant(body.model, endpoint)
    try:
        options = parse_options(body.options)
        found = fit(variant, _endpoints(variant, endpoint), options, _unload(body.unload))
    except RequestRefused as refused:
        raise problem_of(refused) from None
    given = {public_option(name): value for name, value in options.given().items()}
    return FitOut(
        model=variant.name,
        model_id=variant.pk,
        quantization=variant.quantization,
        options=given,
        endpoints=[_endpoint_out(each) for each in found],
    )


def _variant(reference: int | str, endpoint: Endpoint | None) -> Variant:
    found = find_variant(reference, endpoint.pk if endpoint else None)
    if found is None:
        raise Problem(422, "unknown_model", f"The catalog has no model {reference!r}.", field="model")
    return found


def _endpoints(variant: Variant, endpoint: Endpoint | None) -> list[Endpoint]:
    """The one that was asked for; else those that have the model first, then those that could load it."""
    if endpoint is not None:
        return [endpoint]
    rows: QuerySet[Endpoint] = Endpoint.objects.select_related("host")
    having = list(rows.filter(installations__variant=variant).distinct())
    others = rows.exclude(pk__in=[each.pk for each in having])
    able = [each for each in others if Capability.LOAD in each.capabilities]
    return [*having, *able][:MOST_ENDPOINTS]


def _unload(ids: list[int]) -> list[LoadedModel]:
    rows = list(LoadedModel.objects.filter(pk__in=[pk for pk in ids if 0 < pk < 2**63]))
    if len(rows) != len(set(ids)):
        raise Problem(422, "unknown_loaded_model", "At least one of these models is not loaded.", field="unload")
    return rows


def _endpoint_out(found: EndpointFit) -> EndpointFitOut:
    preview = found.preview
    same = set(EndpointFitOut.model_fields) & set(type(preview).__dataclass_fields__)
    return EndpointFitOut(
        endpoint=found.endpoint.name,
        endpoint_id=found.endpoint.pk,
        host=found.endpoint.host.name,
        installed_as=found.installed_as or None,
        placed_on=[
            PlacedOut(
                gpu=room.uuid,
                name=room.name,
                take_bytes=room.take_bytes,
                error_bytes=room.error_bytes,
                terms=_terms(room.terms),
            )
            for room in preview.chosen
        ],
        evict=[_eviction(each) for each in preview.would_free],
        devices=[_device_out(each) for each in found.devices],
        advice=[_advice_out(each, found.settings) for each in found.advice],
        notes=list(preview.unknown),
        **{name: getattr(preview, name) for name in same},
    )


def _device_out(found: DeviceFit) -> DeviceFitOut:
    room = found.room
    of_room = ("name", "total_bytes", "free_bytes", "held_bytes", "headroom_bytes", "available_bytes")
    of_fit = ("fit", "layers", "layer_count", "needed_bytes", "error_bytes", "free_after_bytes")
    return DeviceFitOut(
        gpu=room.uuid,
        terms=_terms(room.terms),
        evict=[_eviction(each) for each in found.evict],
        **{name: getattr(room, name) for name in of_room},
        **{name: getattr(found, name) for name in of_fit},
    )


def _terms(terms: DeviceEstimate | None) -> TermsOut | None:
    return TermsOut(**{name: getattr(terms, name) for name in TermsOut.model_fields}) if terms else None


def _eviction(each: Freeable) -> EvictionOut:
    return EvictionOut(loaded_model=each.loaded_model_id, name=each.name, gpu_bytes=each.gpu_bytes)


def _advice_out(advice: Advice, asked: LoadSettings) -> AdviceOut:
    before = asdict(asked)
    return AdviceOut(
        settings={name: value for name, value in asdict(advice.settings).items() if value != before[name]},
        speed_factor=advice.speed.factor,
        speed_evidence=advice.speed.evidence,
        **{name: getattr(advice, name) for name in _OF_ADVICE},
    )


_OF_ADVICE = ("remedy", "description", "saved_bytes", "vram_bytes", "fits", "quantization")
