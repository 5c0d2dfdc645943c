"""Loaded models in the fleet's read model: what the rows and the latest sample say of each."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models_app.backends.protocol import BackendKind, Capability, LoadOptions, ModelState
from models_app.catalog.models import Variant
from models_app.estimator.quick import quick_kv_bytes
from models_app.estimator.types import EstimateError
from models_app.inventory.models import Endpoint, LoadedModel, Residency
from models_app.operations.builds import has_own_runner, profile_of
from models_app.operations.fleet_view import ModelView
from models_app.operations.load_settings import Situation, load_settings
from models_app.operations.reckoning import has_header, variant_estimate
from models_app.operations.rule_of_thumb import quick_model
from models_app.telemetry.division import By, ModelShare, Shares

Key = tuple[int, str]
"""An endpoint's id and a model's name there."""


@dataclass(frozen=True, slots=True)
class About:
    """What other rows know of the models: the variant, how its server starts it, who loaded it, and what touches it now."""

    variants: dict[Key, Variant]
    launches: dict[Key, dict[str, Any]]
    residencies: dict[Key, Residency]
    busy: dict[Key, int]
    speeds: dict[tuple[int, int], float]
    """By the ids of the endpoint and the variant."""
    kv_bytes: dict[Key, int] = field(default_factory=dict)
    """Found once: no sample changes it."""


def hue(variant: Variant | None, name: str) -> int:
    """Neighbours in the catalog differ; a model outside of it goes by its name."""
    return variant.pk if variant else zlib.crc32(name.encode())


def model_view(row: LoadedModel, endpoint: Endpoint, shares: Shares, about: About) -> ModelView:
    """The loaded model as the latest sample divides its host's memory."""
    key = (endpoint.pk, row.name)
    variant, residency = about.variants.get(key), about.residencies.get(key)
    measured = {uuid: gpu.models[row.pk] for uuid, gpu in shares.items() if row.pk in gpu.models}
    return ModelView(
        id=row.pk,
        name=row.name,
        hue=hue(variant, row.name),
        endpoint_id=endpoint.pk,
        endpoint_name=endpoint.name,
        state=row.state,
        quantization=variant.quantization if variant else "",
        is_embedding=variant.is_embedding if variant else False,
        context_length=row.context_length,
        parallel=row.parallel,
        gpu_bytes={uuid: share.bytes for uuid, share in measured.items()} or dict(row.gpu_bytes),
        kv_bytes=kv_bytes(row, endpoint, about),
        cpu_bytes=cpu_bytes_of(row.size_bytes, row.vram_bytes),
        size_bytes=row.size_bytes,
        attributed_by=next((share.by.value for share in measured.values()), row.attributed_by),
        expires_at=row.expires_at,
        kept_forever=row.kept_forever,
        pinned=residency.pinned if residency else False,
        loaded_by=residency.requested_by if residency else "",
        can_unload=_can(endpoint, Capability.UNLOAD),
        can_set_keep_alive=_can(endpoint, Capability.KEEP_ALIVE),
        can_measure_speed=_can_measure_speed(variant, row, endpoint),
        operation_id=about.busy.get(key),
        tokens_per_second=about.speeds.get((endpoint.pk, variant.pk)) if variant else None,
        last_seen_at=None if is_current(endpoint) or _is_measured(measured) else row.last_seen_at,
    )


def is_current(endpoint: Endpoint) -> bool:
    """Whether what is known of its models is of now: the endpoint answers."""
    return endpoint.state == Endpoint.State.ONLINE


def _is_measured(shares: Mapping[str, ModelShare]) -> bool:
    """Whether processes of its own hold it, which the driver lists whatever the endpoint says."""
    return any(share.bytes and share.by is By.PROCESS for share in shares.values())


def _can(endpoint: Endpoint, capability: Capability) -> bool:
    return is_current(endpoint) and capability in endpoint.capabilities


def _can_measure_speed(variant: Variant | None, row: LoadedModel, endpoint: Endpoint) -> bool:
    writes = not (variant and variant.is_embedding)
    return writes and row.state == ModelState.LOADED and _can(endpoint, Capability.GENERATE)


def cpu_bytes_of(size_bytes: int | None, vram_bytes: int | None) -> int:
    """What an endpoint says it keeps of a model outside VRAM; 0 where it does not tell both figures."""
    return max(0, size_bytes - vram_bytes) if size_bytes and vram_bytes is not None else 0


def kv_bytes(row: LoadedModel, endpoint: Endpoint, about: About) -> int:
    """KV cache and recurrent state as the model is loaded; 0 where its shape or its context is not known."""
    key = (endpoint.pk, row.name)
    if key not in about.kv_bytes:
        about.kv_bytes[key] = _kv_bytes(row, endpoint, about.variants.get(key), about.launches.get(key))
    return about.kv_bytes[key]


def _kv_bytes(row: LoadedModel, endpoint: Endpoint, variant: Variant | None, launch: dict[str, Any] | None) -> int:
    if variant is None or not row.context_length:
        return 0
    situation = Situation(
        kind=endpoint.kind,
        mode=endpoint.mode,
        has_own_runner=has_own_runner(endpoint),
        vram_bytes=0,
        training_context_length=variant.training_context_length,
        is_embedding=variant.is_embedding,
        observed_context=row.context_length,
        observed_parallel=row.parallel,
        launch=launch,
    )
    options = LoadOptions(parallel=row.parallel) if endpoint.kind == BackendKind.OLLAMA else LoadOptions()
    try:
        settings, _ = load_settings(options, situation)
        if not has_header(variant):
            return quick_kv_bytes(quick_model(variant, 0), settings)
        estimate = variant_estimate(variant, settings, profile_of(endpoint))
    except EstimateError:
        return 0
    return sum(device.kv_bytes + device.recurrent_bytes for device in estimate.devices)
