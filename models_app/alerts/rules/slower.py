"""A model that writes at a fraction of its own pace, loaded as it was before: something else takes its share of the GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from statistics import median

from models_app.alerts.rules.facts import Facts, Speed
from models_app.alerts.rules.findings import Action, Figure, Limits, Page, Reading, Rule, Severity, Unit
from models_app.alerts.rules.fleet import EndpointFacts, HostFacts, ModelFacts
from models_app.alerts.rules.past import Past
from models_app.alerts.rules.subjects import of_model
from models_app.backends.protocol import Capability, ModelState

RECENT = 3
LEAST_BEFORE = 5
"""Fewer runs say nothing of what is usual."""
LEAST_SPEED = 0.01
WITHIN = timedelta(days=1)
"""Older measurements say nothing of now."""


def _look(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del past, limits
    for host, endpoint, model in facts.models():
        runs = _alike(facts.speeds.get((endpoint.id, model.name), ()))
        if len(runs) >= RECENT + LEAST_BEFORE and facts.at - runs[0].at <= WITHIN:
            yield _reading(host, endpoint, model, runs)


def _alike(speeds: Sequence[Speed]) -> list[Speed]:
    """The runs in which the model was loaded as in the newest: another context or fewer layers on GPUs explain a pace."""
    newest = speeds[0] if speeds else None
    return [run for run in speeds if newest and run.loaded_like(newest)]


def _reading(host: HostFacts, endpoint: EndpointFacts, model: ModelFacts, runs: Sequence[Speed]) -> Reading:
    now = median(run.tokens_per_second for run in runs[:RECENT])
    before = median(run.tokens_per_second for run in runs[RECENT:])
    slowest = min(run.tokens_per_second for run in runs[:RECENT])
    is_at_rest = endpoint.is_online and model.state == ModelState.LOADED and model.operation_id is None
    figures = [
        Figure("Writes now", round(now, 1), Unit.TOKENS_PER_SECOND),
        Figure("Wrote before", round(before, 1), Unit.TOKENS_PER_SECOND),
        Figure("Slowest of the last three", round(slowest, 1), Unit.TOKENS_PER_SECOND),
        Figure("Earlier runs", len(runs) - RECENT, Unit.TIMES),
    ]
    for gpu in host.gpus:
        if gpu.uuid == model.main_gpu and gpu.utilization_percent is not None:
            figures.append(Figure("Utilisation of its GPU", gpu.utilization_percent, Unit.PERCENT))
        if gpu.uuid == model.main_gpu and gpu.temperature_celsius is not None:
            figures.append(Figure("Temperature of its GPU", gpu.temperature_celsius, Unit.CELSIUS))
    return Reading(
        of_model(host, endpoint, model.name),
        before / max(now, LEAST_SPEED) if is_at_rest else None,
        f"It writes {now:.1f} tokens/s where it wrote {before:.1f}, loaded in the same way.",
        tuple(figures),
        "Look for other work on its GPU, a hot card that slows itself down, and swap; measure again when that is gone.",
        _measure(endpoint, model),
    )


def _measure(endpoint: EndpointFacts, model: ModelFacts) -> Action | None:
    if Capability.GENERATE not in endpoint.capabilities:
        return None
    fields = {"kind": "measure_speed", "endpoint": str(endpoint.id), "model": model.name}
    return Action(f"Measure {model.name} again", Page.OPERATIONS, fields)


SLOWER = Rule(
    "slower",
    "Writes slower than before",
    "How many times slower a model wrote in the last three measured runs than in those before them, by the medians, with "
    "the same context and the same share on GPUs.",
    Severity.WARNING,
    Unit.TIMES,
    Limits(2, 1.3, 0),
    _look,
)
