"""Silent CPU fallback: a model that did not fit runs partly or wholly on the CPU, and nobody was told."""

from __future__ import annotations

from collections.abc import Iterator

from models_app.alerts.rules.facts import Facts
from models_app.alerts.rules.findings import Action, Figure, Limits, Page, Reading, Rule, Severity, Unit
from models_app.alerts.rules.fleet import EndpointFacts, HostFacts, ModelFacts
from models_app.alerts.rules.past import Past
from models_app.alerts.rules.subjects import of_model
from models_app.backends.protocol import ModelState
from models_app.operations.wording import gib
from models_app.probes.types import GpuState, PoolKind

LEAST_CONTEXT = 2048


def _look(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del past, limits
    for host, endpoint, model in facts.models():
        if model.size_bytes and _has_vram(host):
            yield _reading(facts, host, endpoint, model)


def _has_vram(host: HostFacts) -> bool:
    return any(gpu.pool is PoolKind.VRAM and gpu.state is GpuState.OK for gpu in host.gpus)


def _reading(facts: Facts, host: HostFacts, endpoint: EndpointFacts, model: ModelFacts) -> Reading:
    if not model.cpu_bytes and endpoint.is_online:
        return Reading(of_model(host, endpoint, model.name), 0)
    size_bytes = model.size_bytes or 0
    is_settled = endpoint.is_online and model.state == ModelState.LOADED and model.operation_id is None
    figures = [
        Figure("Size", size_bytes, Unit.BYTES),
        Figure("In VRAM", size_bytes - model.cpu_bytes, Unit.BYTES),
        Figure("On the CPU", model.cpu_bytes, Unit.BYTES),
    ]
    if model.vram_bytes and model.attributed_by == "process":
        figures.append(Figure("VRAM of its process", model.vram_bytes, Unit.BYTES))
    layers = _layers(facts, model)
    if layers:
        figures.append(Figure("Layers on the CPU, about", layers, Unit.LAYERS))
    if speeds := facts.speeds.get((endpoint.id, model.name)):
        best = max(run.tokens_per_second for run in speeds)
        figures.append(Figure("Measured last", speeds[0].tokens_per_second, Unit.TOKENS_PER_SECOND))
        figures.append(Figure("Its best here", best, Unit.TOKENS_PER_SECOND))
    action = _smaller_context(endpoint, model)
    percent = -(-100 * model.cpu_bytes // size_bytes) if size_bytes else 0
    return Reading(
        of_model(host, endpoint, model.name),
        100 * model.cpu_bytes / size_bytes if is_settled else None,
        f"{gib(model.cpu_bytes)} of {gib(size_bytes)} ({percent} %) run on the CPU, many times slower.",
        tuple(figures),
        _advice(action),
        action or _fit(model),
    )


def _layers(facts: Facts, model: ModelFacts) -> int:
    """The weights are spread evenly over the layers: about as large a share of them."""
    count = facts.layer_counts.get((model.endpoint_id, model.name), 0)
    return (
        max(1, round(count * model.cpu_bytes / model.size_bytes)) if count and model.size_bytes and model.cpu_bytes else 0
    )


def _smaller_context(endpoint: EndpointFacts, model: ModelFacts) -> Action | None:
    """The largest half, quarter, … of the context whose cache is smaller by what lies on the CPU, with a tenth to spare."""
    context = model.context_length or 0
    if not (model.kv_bytes and context and "context_length" in endpoint.load_options):
        return None
    smaller = context // 2
    while smaller >= LEAST_CONTEXT:
        saved_bytes = model.kv_bytes * (context - smaller) // context
        if saved_bytes >= model.cpu_bytes * 1.1:
            fields = {"kind": "load", "endpoint": str(endpoint.id), "model": model.name, "context_length": str(smaller)}
            return Action(f"Load again with a context of {smaller}", Page.OPERATIONS, fields)
        smaller //= 2
    return None


def _fit(model: ModelFacts) -> Action:
    fields = {"endpoint": str(model.endpoint_id), "model": model.name}
    return Action("See what would make it fit", Page.LOAD, fields)


def _advice(smaller: Action | None) -> str:
    if smaller:
        return "A smaller context needs a smaller cache, and then all layers have room in VRAM."
    return "Make room on the GPU, choose a smaller quantisation, or load it where there is more VRAM."


CPU_FALLBACK = Rule(
    "cpu_fallback",
    "Runs on the CPU",
    "The share of a model that its endpoint could not place in VRAM. Ollama says nothing when that happens; answers come "
    "at a fraction of the speed.",
    Severity.WARNING,
    Unit.PERCENT,
    Limits(3, 1, 20),
    _look,
)
