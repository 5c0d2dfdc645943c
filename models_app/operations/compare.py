"""The variants of one model side by side: what each needs at several contexts, and where it is installed, loaded, measured.

One read model for the catalog's pages; the number of queries does not grow with the variants.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from django.db.models import QuerySet

from models_app.catalog.models import CatalogModel, Installation, Variant
from models_app.estimator.types import Estimate, EstimateError, Grade, LoadSettings
from models_app.inventory.models import LoadedModel
from models_app.operations.measurements import LoadMeasurement, SpeedMeasurement
from models_app.operations.reckoning import variant_estimate

CONTEXTS = (4096, 8192, 32_768)
"""Tokens; the model's maximum comes after them."""
MEASUREMENTS_SHOWN = 20
MEASUREMENTS_READ = 2000
SPEEDS_SHOWN = 5

Row = TypeVar("Row", LoadMeasurement, SpeedMeasurement)


@dataclass(frozen=True, slots=True)
class Need:
    """What a variant needs on one GPU that holds all of it, in bytes, with one slot of ``context_length`` tokens.

    ``vram_bytes`` is ``None`` where the estimate lacks something, and ``why`` says what.
    """

    context_length: int
    vram_bytes: int | None = None
    kv_bytes: int | None = None
    error_bytes: int = 0
    grade: Grade = Grade.QUICK
    why: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a variant is installed; ``loaded`` is its row there while it is in memory."""

    installation: Installation
    loaded: LoadedModel | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One variant. ``needs`` are at 4k, 8k and 32k tokens as far as it was trained for them, and at its maximum."""

    variant: Variant
    needs: tuple[Need, ...]
    places: tuple[Place, ...]
    measurements: tuple[LoadMeasurement, ...]
    speeds: tuple[SpeedMeasurement, ...] = ()

    @property
    def is_loaded(self) -> bool:
        """Whether it is in memory anywhere."""
        return any(place.loaded for place in self.places)

    @property
    def why_unknown(self) -> str:
        """Why nobody knows what it needs; empty where somebody does."""
        known = any(need.vram_bytes is not None for need in self.needs)
        return "" if known else next((need.why for need in self.needs), "It is not known for which context it was trained.")

    def need_at(self, context_length: int) -> Need | None:
        """What it needs at a context; ``None`` where it was not trained for it."""
        return next((need for need in self.needs if need.context_length == context_length), None)


def compare(model: CatalogModel) -> list[Comparison]:
    """The model's variants, largest first, in five queries."""
    variants = list(
        Variant.objects.filter(model=model).select_related("header", "model").order_by("-file_size_bytes", "pk")
    )
    installed = _installed(variants)
    loaded = _loaded(row.endpoint_id for rows in installed.values() for row in rows)
    measured = _latest(LoadMeasurement.objects.filter(variant__in=variants), MEASUREMENTS_SHOWN)
    speeds = _latest(SpeedMeasurement.objects.filter(variant__in=variants), SPEEDS_SHOWN)
    return [
        Comparison(
            variant,
            needs(variant),
            tuple(Place(row, loaded.get((row.endpoint_id, row.name))) for row in installed.get(variant.pk, ())),
            tuple(measured.get(variant.pk, ())),
            tuple(speeds.get(variant.pk, ())),
        )
        for variant in variants
    ]


def needs(variant: Variant) -> tuple[Need, ...]:
    """What a variant needs at the usual contexts and at its maximum, by its header or a rule of thumb."""
    longest = variant.training_context_length
    shown = [tokens for tokens in CONTEXTS if not longest or tokens < longest]
    return tuple(need(variant, LoadSettings(context_length=tokens)) for tokens in [*shown, *([longest] if longest else [])])


def need(variant: Variant, settings: LoadSettings) -> Need:
    """What a variant needs with these settings on one GPU without a limit."""
    try:
        estimate = variant_estimate(variant, replace(settings, embedding=variant.is_embedding))
    except EstimateError as error:
        return Need(settings.context_length, why=str(error))
    return _need(estimate, settings.context_length)


def _need(estimate: Estimate, context_length: int) -> Need:
    on_gpus = [device for device in estimate.devices if device.kind == "vram"]
    kv_bytes = sum(device.kv_bytes + device.recurrent_bytes for device in on_gpus)
    return Need(context_length, estimate.vram_bytes, kv_bytes, estimate.error_bytes, estimate.grade)


def _installed(variants: Iterable[Variant]) -> dict[int, list[Installation]]:
    found: dict[int, list[Installation]] = {}
    rows = Installation.objects.filter(variant__in=variants).select_related("endpoint__host", "variant")
    for row in rows.order_by("endpoint__host__name", "endpoint__name", "name"):
        found.setdefault(row.variant_id, []).append(row)
    return found


def _loaded(endpoint_ids: Iterable[int]) -> dict[tuple[int, str], LoadedModel]:
    rows = LoadedModel.objects.current().filter(endpoint_id__in=set(endpoint_ids))
    return {(row.endpoint_id, row.name): row for row in rows}


def _latest(rows: QuerySet[Row], shown: int) -> dict[int, list[Row]]:
    """The latest measurements of each variant, newest first."""
    found: dict[int, list[Row]] = {}
    for row in rows.select_related("endpoint__host").order_by("-id")[:MEASUREMENTS_READ]:
        latest = found.setdefault(row.variant_id, [])
        if len(latest) < shown:
            latest.append(row)
    return found
