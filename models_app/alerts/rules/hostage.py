"""Keep-alive hostage: a model that is kept for long and does nothing, while others are refused for want of room."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from models_app.alerts.rules.facts import Facts, Refusal
from models_app.alerts.rules.findings import Action, Figure, Limits, Page, Reading, Rule, Severity, Unit, lasting
from models_app.alerts.rules.fleet import HostFacts, ModelFacts
from models_app.alerts.rules.past import Past
from models_app.alerts.rules.subjects import of_model, unload

LONG = timedelta(hours=1)
KEEP_FOR = "5m"


def _look(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del limits
    for host, endpoint, model in facts.models():
        if not _is_kept_long(model, facts) or model.pinned or not model.gpu_bytes:
            continue
        refusals = _refusals(host, model, facts)
        idle_seconds = _idle_seconds(model, facts, past)
        waiting = ", ".join(dict.fromkeys(refusal.model for refusal in refusals))
        yield Reading(
            of_model(host, endpoint, model.name),
            None if host.is_stale else idle_seconds if refusals else 0,
            f"Kept {'for ever' if model.kept_forever else 'for long'} and idle for {lasting(idle_seconds)}, but there was "
            f"no room for {waiting}.",
            (
                Figure("Idle for", round(idle_seconds), Unit.SECONDS),
                Figure("Held", model.vram_bytes, Unit.BYTES),
                Figure("Refused meanwhile", len(refusals), Unit.TIMES),
            ),
            "Let it go when it is idle, or pin it if it has to stay: a pinned model is no hostage.",
            _action(model),
        )


def _is_kept_long(model: ModelFacts, facts: Facts) -> bool:
    return model.kept_forever or (model.expires_at is not None and model.expires_at - facts.at > LONG)


def _refusals(host: HostFacts, model: ModelFacts, facts: Facts) -> list[Refusal]:
    endpoints = {endpoint.id for endpoint in host.endpoints}
    return [refusal for refusal in facts.refusals if refusal.endpoint_id in endpoints and refusal.model != model.name]


def _idle_seconds(model: ModelFacts, facts: Facts, past: Past) -> float:
    """As long as none of its GPUs has worked: whose work it was, nobody tells."""
    return min((facts.at - past.busy_at.get(uuid, facts.at)).total_seconds() for uuid in model.gpu_bytes)


def _action(model: ModelFacts) -> Action | None:
    if not model.can_set_keep_alive:
        return unload(model)
    fields = {"kind": "set_keep_alive", "endpoint": str(model.endpoint_id), "model": model.name, "keep_alive": KEEP_FOR}
    return Action("Keep it for 5 minutes only", Page.OPERATIONS, fields)


HOSTAGE = Rule(
    "hostage",
    "Kept while others wait",
    "How long a model that is kept for an hour or more, and is not pinned, has done nothing, where loads were refused for "
    "want of room on its host within the last half hour.",
    Severity.WARNING,
    Unit.SECONDS,
    Limits(600, 60, 0),
    _look,
)
