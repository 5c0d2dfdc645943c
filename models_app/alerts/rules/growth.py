"""A model whose memory grows towards the limit: a cache that is filled as it is used, or a leak while serving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from models_app.alerts.rules.facts import Facts
from models_app.alerts.rules.findings import Figure, Limits, Reading, Rule, Severity, Unit, lasting
from models_app.alerts.rules.past import Past
from models_app.alerts.rules.subjects import of_model, restart, unload
from models_app.backends.protocol import Capability
from models_app.operations.wording import gib

LEAST_POINTS = 5
LEAST_BYTES = 128 * 1024**2
"""Growth below this is noise."""
HOUR_SECONDS = 3600


def _look(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del limits
    for host, endpoint, model in facts.models():
        points = past.growth[model.id].points if model.id in past.growth else ()
        grown_bytes, seconds = _growth(points)
        if not grown_bytes:
            yield Reading(of_model(host, endpoint, model.name), None if host.is_stale else 0)
            continue
        free_bytes = min((gpu.free_bytes for gpu in host.gpus if gpu.uuid in model.gpu_bytes), default=0)
        per_hour = grown_bytes * HOUR_SECONDS / seconds
        left_seconds = free_bytes * HOUR_SECONDS / per_hour
        yield Reading(
            of_model(host, endpoint, model.name),
            None if host.is_stale else 100 * per_hour / max(1, free_bytes),
            f"Grown by {gib(grown_bytes)} in {lasting(seconds)}; at that pace its GPU is full in {lasting(left_seconds)}.",
            (
                Figure("Grown by", grown_bytes, Unit.BYTES),
                Figure("Within", round(seconds), Unit.SECONDS),
                Figure("Per hour", round(per_hour), Unit.BYTES),
                Figure("Free", free_bytes, Unit.BYTES),
            ),
            "Load it again before it fails in the middle of an answer, with a smaller context or fewer slots.",
            restart(host, endpoint) if Capability.RESTART in endpoint.capabilities else unload(model),
        )


def _growth(points: Sequence[tuple[datetime, int]]) -> tuple[int, float]:
    """By how much, in how many seconds; nothing where it ever shrank by half of that, for then it goes up and down."""
    if len(points) < LEAST_POINTS:
        return 0, 0.0
    grown_bytes = points[-1][1] - points[0][1]
    fall_bytes = max((before - after for (_, before), (_, after) in pairwise(points)), default=0)
    if grown_bytes < LEAST_BYTES or fall_bytes > grown_bytes / 2:
        return 0, 0.0
    return grown_bytes, (points[-1][0] - points[0][0]).total_seconds()


GROWTH = Rule(
    "growth",
    "Memory grows towards the limit",
    "How much of what is free on its GPU a model would take within an hour if it grows on as it does, by the bytes that "
    "its own process holds.",
    Severity.WARNING,
    Unit.PERCENT,
    Limits(100, 50, 60),
    _look,
)
