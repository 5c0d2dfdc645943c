"""Other quantisations of a model that an endpoint has already: what could be loaded instead, at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models_app.backends.protocol import LoadOptions
from models_app.catalog.models import Installation, Variant
from models_app.estimator.speed import MEASURED, Speed, speed_of_quantization
from models_app.inventory.models import Endpoint
from models_app.operations.facts import installed_subject
from models_app.operations.placing import place
from models_app.operations.reckoning import gpu_names
from models_app.operations.rooms import Room
from models_app.operations.speeds import measured_speeds

MOST_SIBLINGS = 5
SAME_WEIGHTS = 0.02
"""Sources count the weights of one model a little differently."""


@dataclass(frozen=True, slots=True)
class Sibling:
    """Another variant of the same model, installed as ``name``. ``needed_bytes`` ± ``error_bytes`` is what it would take.

    ``speed`` is relative to the variant that it would stand in for, wholly on the GPU.
    """

    variant: Variant
    name: str
    needed_bytes: int
    error_bytes: int
    fits: bool
    speed: Speed


def smaller_siblings(
    endpoint: Endpoint, variant: Variant, options: LoadOptions, devices: Sequence[Room], needed_bytes: int
) -> tuple[Sibling, ...]:
    """The installed variants of the same model that need less than ``needed_bytes``, the largest first."""
    rows = Installation.objects.filter(endpoint=endpoint, variant__model=variant.model_id).exclude(variant=variant)
    same = [row for row in rows.select_related("variant__header") if _is_same_model(row.variant, variant)]
    found = [_sibling(endpoint, variant, row, options, devices) for row in same]
    smaller = [each for each in found if each and each.needed_bytes < needed_bytes]
    return tuple(sorted(smaller, key=lambda each: each.needed_bytes, reverse=True)[:MOST_SIBLINGS])


def _is_same_model(one: Variant, other: Variant) -> bool:
    """A family holds models of several sizes; its quantisations have the same number of weights."""
    if not one.parameter_count or not other.parameter_count:
        return False
    return abs(one.parameter_count - other.parameter_count) <= SAME_WEIGHTS * other.parameter_count


def _sibling(
    endpoint: Endpoint, variant: Variant, row: Installation, options: LoadOptions, devices: Sequence[Room]
) -> Sibling | None:
    """``None`` where nobody knows what it needs."""
    placing = place(installed_subject(endpoint, row.name, options), devices, options.gpu)
    reckoning = placing.reckoning
    if reckoning.needed_bytes is None:
        return None
    fits = not placing.shortfall_bytes
    speed = _speed(endpoint, variant, row.variant, gpu_names(placing.chosen))
    return Sibling(row.variant, row.name, reckoning.needed_bytes, reckoning.error_bytes, fits, speed)


def _speed(endpoint: Endpoint, variant: Variant, other: Variant, gpus: str) -> Speed:
    """Its own measured speed, else the rule of thumb from the one that it would stand in for."""
    ours, theirs = (measured_speeds(each, endpoint.kind, gpus) for each in (variant, other))
    predicted = speed_of_quantization(variant.quantization.upper(), other.quantization.upper(), ours)
    if 1.0 not in theirs:
        return predicted
    whole = predicted.tokens_per_second and predicted.tokens_per_second / predicted.factor
    return Speed(theirs[1.0] / whole if whole else predicted.factor, MEASURED, theirs[1.0])
