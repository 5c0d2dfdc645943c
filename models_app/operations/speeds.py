"""How fast models wrote when they were asked to, kept with how they were loaded, and found again for an advice."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict

from models_app.backends.protocol import Generation, ResidentModel
from models_app.catalog.models import Variant
from models_app.estimator.types import LoadSettings
from models_app.inventory.models import Endpoint, Gpu, LoadedModel
from models_app.operations.facts import installed_subject
from models_app.operations.measurements import SpeedMeasurement
from models_app.operations.models import Operation, OperationStep
from models_app.operations.options import stored_options
from models_app.operations.refusals import RequestRefused
from models_app.operations.subject import Subject

TOKENS = 64
"""What a model is asked to write: a second or two on a GPU, and enough for the rate to settle."""
MOST_SECONDS = 120
SPEEDS_READ = 50


def record_speed(operation: Operation, step: OperationStep, resident: ResidentModel, wrote: Generation) -> None:
    """Keep a measurement; nothing where the catalog does not know the model."""
    endpoint = operation.site
    subject = _subject(operation, step)
    if subject is None or subject.variant is None:
        return
    SpeedMeasurement.objects.create(
        variant=subject.variant,
        endpoint=endpoint,
        operation_id=operation.pk,
        backend_kind=endpoint.kind,
        backend_version=endpoint.version,
        gpu_names=_gpu_names(endpoint, step.model_name),
        gpu_share=_gpu_share(endpoint, resident, subject.settings, subject.variant.layer_count),
        context_length=resident.context_length,
        settings=asdict(subject.settings),
        token_count=wrote.token_count,
        tokens_per_second=wrote.tokens_per_second,
    )


def measured_speeds(variant: Variant | None, backend_kind: str, gpu_names: str) -> dict[float, float]:
    """Tokens a second by the share of the model on GPUs of these names, the latest of each share.

    Several cards of one kind count as one: they work one after the other, each on its own layers.
    """
    if variant is None:
        return {}
    cards = _kinds_of(gpu_names.split(", ") if gpu_names else [])
    rows = SpeedMeasurement.objects.filter(variant=variant, backend_kind=backend_kind, gpu_names=cards)
    latest = rows.order_by("-id").values_list("gpu_share", "tokens_per_second")[:SPEEDS_READ]
    return {round(share, 2): speed for share, speed in reversed(latest)}


def latest_speeds(variant_ids: Collection[int]) -> dict[tuple[int, int], float]:
    """Tokens a second of the latest measurement of each of these variants, by endpoint's and variant's id."""
    rows = SpeedMeasurement.objects.filter(variant__in=variant_ids, endpoint__isnull=False).order_by("id")
    return {
        (endpoint_id, variant_id): speed
        for endpoint_id, variant_id, speed in rows.values_list("endpoint_id", "variant_id", "tokens_per_second")
        if endpoint_id is not None
    }


def gpu_share_of(settings: LoadSettings, layer_count: int | None) -> float:
    """The part of a model on GPUs by its settings, 0 to 1; everything where they say nothing of layers."""
    if settings.gpu_layers is None or layer_count is None:
        return 0.0 if settings.gpu_layers == 0 else 1.0
    return min(1.0, settings.gpu_layers / (layer_count + 1))


def _subject(operation: Operation, step: OperationStep) -> Subject | None:
    try:
        return installed_subject(operation.site, step.model_name, stored_options(step.options))
    except RequestRefused:
        return None


def _gpu_names(endpoint: Endpoint, model: str) -> str:
    """The kinds of cards that hold it; empty on a machine without any."""
    row = LoadedModel.objects.filter(endpoint=endpoint, name=model).first()
    gpus = list(Gpu.objects.filter(host=endpoint.host_id, present=True).order_by("index"))
    holding = [gpu for gpu in gpus if row and row.gpu_bytes.get(gpu.uuid)] or gpus[:1]
    return _kinds_of([gpu.name[:120] for gpu in holding])


def _kinds_of(names: list[str]) -> str:
    return ", ".join(dict.fromkeys(names))[:255]


def _gpu_share(endpoint: Endpoint, resident: ResidentModel, settings: LoadSettings, layer_count: int | None) -> float:
    """The endpoint's own figures where it gives both, else what the settings say, on a machine with GPUs."""
    if resident.vram_bytes is not None and resident.size_bytes:
        return min(1.0, resident.vram_bytes / resident.size_bytes)
    if not Gpu.objects.filter(host=endpoint.host_id, present=True).exists():
        return 0.0
    return gpu_share_of(settings, layer_count)
