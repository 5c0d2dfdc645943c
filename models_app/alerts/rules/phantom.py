"""A model that is listed though its memory is gone: its process has died, and its server has not noticed."""

from __future__ import annotations

from collections.abc import Iterator

from models_app.alerts.rules.facts import Facts
from models_app.alerts.rules.findings import Figure, Limits, Reading, Rule, Severity, Unit
from models_app.alerts.rules.fleet import EndpointFacts, HostFacts, ModelFacts
from models_app.alerts.rules.past import Past
from models_app.alerts.rules.subjects import of_model, unload
from models_app.backends.protocol import ModelState
from models_app.operations.wording import gib
from models_app.probes.types import GpuState, PoolKind

LEAST_BYTES = 64 * 1024**2


def _missing(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del past, limits
    for host, endpoint, model in facts.models():
        claimed_bytes = (model.size_bytes or 0) - (0 if model.has_lost_process else model.cpu_bytes)
        if claimed_bytes < LEAST_BYTES:
            continue
        missing_bytes = max(0, claimed_bytes - model.vram_bytes)
        where = "in no process of its server" if model.has_lost_process else "on no GPU"
        yield Reading(
            of_model(host, endpoint, model.name),
            100 * missing_bytes / claimed_bytes if _is_settled(host, endpoint, model) else None,
            f"Listed as loaded, yet {gib(missing_bytes)} of its {gib(claimed_bytes)} are {where}.",
            (Figure("Said to hold", claimed_bytes, Unit.BYTES), Figure("Found on GPUs", model.vram_bytes, Unit.BYTES)),
            "Its process has probably died. The next request loads it anew; unload it so that its server forgets it.",
            unload(model),
        )


def _is_settled(host: HostFacts, endpoint: EndpointFacts, model: ModelFacts) -> bool:
    """Whether all that could hold it is seen just now, and nothing is about to change the model."""
    sees_gpus = bool(host.gpus) and all(gpu.pool is PoolKind.VRAM and gpu.state is GpuState.OK for gpu in host.gpus)
    is_at_rest = model.state == ModelState.LOADED and model.operation_id is None
    return (sees_gpus or model.has_lost_process) and not host.is_stale and endpoint.is_online and is_at_rest


NOT_IN_MEMORY = Rule(
    "not_in_memory",
    "Listed but not in memory",
    "The share of a listed model's memory that no GPU holds, and no process for the part on the CPU.",
    Severity.WARNING,
    Unit.PERCENT,
    Limits(60, 30, 20),
    _missing,
)
"""An endpoint's own figure may be a generous estimate: a third too much is no alert."""
