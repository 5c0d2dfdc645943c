"""The catalog's variants as pages show them: where each is installed and loaded, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Case, Count, Exists, F, OuterRef, Prefetch, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

from models_app.backends.protocol import Capability, ModelState
from models_app.catalog.models import Installation, Variant, VariantHeader
from models_app.inventory.models import Endpoint, LoadedModel
from models_app.operations.fleet_models import is_current
from models_app.operations.measurements import LoadMeasurement


def all_variants() -> QuerySet[Variant]:
    """Every variant with its model and places, whether it has a header, how often it was measured, and ``presence``."""
    installed = Installation.objects.filter(variant=OuterRef("pk"))
    online = installed.filter(endpoint__state=Endpoint.State.ONLINE)
    loaded = online.filter(endpoint__loaded_models__name=F("name"))
    presence = Case(
        When(Exists(loaded), then=Value("loaded")), When(Exists(installed), then=Value("installed")), default=Value("gone")
    )
    places = Prefetch(
        "installations", Installation.objects.select_related("endpoint__host", "variant").order_by("endpoint__name")
    )
    counted = LoadMeasurement.objects.filter(variant=OuterRef("pk"), is_outlier=False).order_by()
    measured = counted.values("variant").annotate(count=Count("pk")).values("count")
    rows = Variant.objects.select_related("model").prefetch_related(places).alias(presence=presence)
    header = VariantHeader.objects.filter(variant=OuterRef("pk"))
    return rows.annotate(has_header=Exists(header), measured_count=Coalesce(Subquery(measured), 0))


def mark(variants: Iterable[Variant]) -> None:
    """Give each installation ``loaded``, the model in memory under its name, and what can be done: ``can_load`` and so on.

    A variant's ``loadable`` is the first place where it can be loaded now, or ``None``; ``is_loaded`` says whether it is
    in memory anywhere. ``last_seen`` takes the place of ``loaded`` where the endpoint does not answer.
    """
    variants = list(variants)
    places = [place for variant in variants for place in variant.installations.all()]
    rows = LoadedModel.objects.filter(endpoint__in={place.endpoint_id for place in places})
    loaded = {(row.endpoint_id, row.name): row for row in rows}
    for place in places:
        is_online, row = is_current(place.endpoint), loaded.get((place.endpoint_id, place.name))
        place.loaded = row if is_online else None  # type: ignore[attr-defined]
        place.last_seen = None if is_online else row  # type: ignore[attr-defined]
        place.can_load = is_online and Capability.LOAD in place.endpoint.capabilities  # type: ignore[attr-defined]
        place.can_measure_speed = _can_measure_speed(place, is_online)  # type: ignore[attr-defined]
        place.can_delete = is_online and Capability.DELETE in place.endpoint.capabilities  # type: ignore[attr-defined]
    for variant in variants:
        free = (place for place in variant.installations.all() if place.can_load and not place.loaded)  # type: ignore[attr-defined]
        variant.loadable = next(free, None)  # type: ignore[attr-defined]
        variant.is_loaded = any(place.loaded for place in variant.installations.all())  # type: ignore[attr-defined]


def _can_measure_speed(place: Installation, is_online: bool) -> bool:
    loaded: LoadedModel | None = place.loaded  # type: ignore[attr-defined]
    can_write = Capability.GENERATE in place.endpoint.capabilities and not place.variant.is_embedding
    return bool(is_online and can_write and loaded and loaded.state == ModelState.LOADED)
