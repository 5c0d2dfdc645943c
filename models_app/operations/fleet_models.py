"""Loaded models in the fleet's read model: what the rows and the latest sample say of each."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from models_app.backends.protocol import Capability, ModelState
from models_app.catalog.models import Variant
from models_app.estimator.quick import QuickModel, quick_kv_bytes
from models_app.estimator.types import EstimateError, LoadSettings
from models_app.inventory.models import Endpoint, LoadedModel, Residency
from models_app.operations.fleet_view import ModelView
from models_app.telemetry.attribution import Shares

Key = tuple[int, str]
"""An endpoint's id and a model's name there."""


@dataclass(frozen=True, slots=True)
class About:
    """What other rows know of the models: the variant, who loaded it, and the active operation that touches it."""

    variants: dict[Key, Variant]
    residencies: dict[Key, Residency]
    busy: dict[Key, int]


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
        kv_bytes=_kv_bytes(variant, row),
        cpu_bytes=_cpu_bytes(row),
        size_bytes=row.size_bytes,
        attributed_by=next((share.by.value for share in measured.values()), row.attributed_by),
        expires_at=row.expires_at,
        kept_forever=row.kept_forever,
        pinned=residency.pinned if residency else False,
        loaded_by=residency.requested_by if residency else "",
        can_unload=Capability.UNLOAD in endpoint.capabilities,
        can_set_keep_alive=Capability.KEEP_ALIVE in endpoint.capabilities,
        can_measure_speed=_can_measure_speed(variant, row, endpoint),
        operation_id=about.busy.get(key),
    )


def _can_measure_speed(variant: Variant | None, row: LoadedModel, endpoint: Endpoint) -> bool:
    writes = not (variant and variant.is_embedding)
    return writes and row.state == ModelState.LOADED and Capability.GENERATE in endpoint.capabilities


def _cpu_bytes(row: LoadedModel) -> int:
    """What the endpoint says it keeps outside VRAM; 0 where it does not tell both figures."""
    return max(0, row.size_bytes - row.vram_bytes) if row.size_bytes and row.vram_bytes is not None else 0


def _kv_bytes(variant: Variant | None, row: LoadedModel) -> int:
    """The KV cache by the model's shape; 0 where the shape or the context is not known."""
    if variant is None or not row.context_length:
        return 0
    shape = QuickModel(
        layer_count=variant.layer_count,
        kv_head_count=variant.kv_head_count,
        head_count=variant.head_count,
        key_length=variant.key_length,
        value_length=variant.value_length,
        embedding_length=variant.embedding_length,
        has_kv_cache=not variant.is_embedding,
    )
    try:
        return quick_kv_bytes(shape, LoadSettings(context_length=row.context_length, parallel=row.parallel or 1))
    except EstimateError:
        return 0
