"""``POST /fit``: whether a model fits, where, and what would make it fit. A question: it changes nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Router

from models_app.api.auth import AUTH_TO_READ
from models_app.api.endpoints import public_option
from models_app.api.errors import Problem
from models_app.api.fit_schemas import (
    AdviceOut,
    DeviceFitOut,
    EndpointFitOut,
    EvictionOut,
    FitIn,
    FitOut,
    KeepAliveOut,
    PlacedOut,
    SiblingOut,
    SpeedOut,
    TermsOut,
)
from models_app.api.operations import endpoint_of, problem_of
from models_app.backends.protocol import Capability
from models_app.catalog.find import find_variant
from models_app.catalog.models import Variant
from models_app.estimator.advice import Advice
from models_app.estimator.speed import Speed
from models_app.estimator.types import DeviceEstimate, LoadSettings
from models_app.inventory.models import Endpoint, LoadedModel
from models_app.operations.fit import DeviceFit, EndpointFit, fit
from models_app.operations.options import parse_options
from models_app.operations.refusals import RequestRefused
from models_app.operations.reloads import keep_alive_of
from models_app.operations.siblings import Sibling
from models_app.operations.verdicts import Freeable

MOST_ENDPOINTS = 100


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
        endpoints=[_endpoint_out(each, _keep_alive_out(each, variant, body.requests_per_hour)) for each in found],
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


def _keep_alive_out(found: EndpointFit, variant: Variant, requests_per_hour: float | None) -> KeepAliveOut | None:
    """Nothing where the endpoint cannot be told, or nobody knows how often the model is asked."""
    if Capability.KEEP_ALIVE not in found.endpoint.capabilities:
        return None
    advised = keep_alive_of(found.endpoint, found.installed_as, variant.file_size_bytes, requests_per_hour)
    if advised is None:
        return None
    return KeepAliveOut(
        seconds=advised.advice.seconds,
        reason=advised.advice.reason,
        requests_per_hour=advised.requests_per_hour,
        is_told=advised.is_told,
        loads=advised.loads,
        reload_seconds=advised.reload.seconds,
        reload_is_measured=advised.reload.is_measured,
        reloads_per_hour=advised.advice.reloads_per_hour,
    )


def _endpoint_out(found: EndpointFit, keep_alive: KeepAliveOut | None) -> EndpointFitOut:
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
        instead=[_sibling_out(each) for each in found.siblings],
        speed=_speed_out(found.speed),
        keep_alive=keep_alive,
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
        **_of_speed(advice.speed),
        **{name: getattr(advice, name) for name in _OF_ADVICE},
    )


def _sibling_out(sibling: Sibling) -> SiblingOut:
    return SiblingOut(
        model=sibling.name,
        model_id=sibling.variant.pk,
        quantization=sibling.variant.quantization,
        needed_bytes=sibling.needed_bytes,
        error_bytes=sibling.error_bytes,
        fits=sibling.fits,
        **_of_speed(sibling.speed),
    )


def _of_speed(speed: Speed) -> dict[str, Any]:
    return {
        "speed_factor": speed.factor,
        "speed_evidence": speed.evidence,
        "tokens_per_second": speed.tokens_per_second,
    }


def _speed_out(speed: Speed | None) -> SpeedOut | None:
    if speed is None or speed.tokens_per_second is None:
        return None
    return SpeedOut(tokens_per_second=speed.tokens_per_second, factor=speed.factor, evidence=speed.evidence)


_OF_ADVICE = ("remedy", "description", "saved_bytes", "vram_bytes", "fits", "quantization")
