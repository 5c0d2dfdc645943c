"""Memory that does not come back: all of it after one unload, or a little after each."""

from __future__ import annotations

from collections.abc import Iterator

from models_app.alerts.rules.facts import Facts
from models_app.alerts.rules.findings import Figure, Limits, Reading, Rule, Severity, Unit, lasting
from models_app.alerts.rules.fleet import EndpointFacts
from models_app.alerts.rules.past import Past
from models_app.alerts.rules.stays import Stay
from models_app.alerts.rules.subjects import of_endpoint, of_model, restart
from models_app.operations.wording import gib

MIB = 1024**2
CYCLES = 3
LEAST_BYTES = 64 * MIB
MOST_SHARE = 0.5
"""A larger share of a model is no leak of a load cycle, but a model that was not released."""


def _restart(endpoint: EndpointFacts) -> str:
    program = "systemctl restart ollama" if endpoint.kind == "ollama" else "its llama-server"
    return f"Restart it on its host ({program}); the models that it holds then have to be loaded again."


def _held(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del limits
    ended = past.ended_by_endpoint()
    for host, endpoint in facts.endpoints():
        latest = {stay.model: stay for stay in ended.get(endpoint.id, ())}
        for name, stay in latest.items():
            kept_bytes = stay.residue_bytes
            if stay.total_bytes < LEAST_BYTES or stay.ended_at is None:
                continue
            yield Reading(
                of_model(host, endpoint, name),
                None if kept_bytes is None or host.is_stale else 100 * kept_bytes / stay.total_bytes,
                f"Unloaded {lasting((facts.at - stay.ended_at).total_seconds())} ago, yet {gib(kept_bytes or 0)} of its "
                f"{gib(stay.total_bytes)} are still taken, and no model accounts for them.",
                (
                    Figure("Held before", stay.total_bytes, Unit.BYTES),
                    Figure("Not given back", kept_bytes or 0, Unit.BYTES),
                    Figure("GPUs", len(stay.held_bytes)),
                ),
                f"A process of {endpoint.name} lives on. {_restart(endpoint)}",
                restart(host, endpoint),
            )


NOT_RELEASED = Rule(
    "not_released",
    "Memory not released",
    "The share of an unloaded model's VRAM that is still taken and that no model or other program accounts for.",
    Severity.WARNING,
    Unit.PERCENT,
    Limits(50, 20, 30),
    _held,
)


def _leaking(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del limits
    ended = past.ended_by_endpoint()
    for host, endpoint in facts.endpoints():
        cycles = [stay for stay in ended.get(endpoint.id, ()) if stay.residue_bytes is not None][-CYCLES:]
        if len(cycles) < CYCLES:
            yield Reading(of_endpoint(host, endpoint), 0)
            continue
        lost = [_lost_bytes(stay) for stay in cycles]
        total_bytes = sum(lost)
        yield Reading(
            of_endpoint(host, endpoint),
            min(lost) / MIB,
            f"Each of the last {len(cycles)} unloads left memory behind, {gib(total_bytes)} together.",
            tuple(Figure(f"Left by {stay.model}", bytes_, Unit.BYTES) for stay, bytes_ in zip(cycles, lost, strict=True)),
            f"The server loses memory with each load. Until it is fixed: load less often. {_restart(endpoint)}",
            restart(host, endpoint),
        )


def _lost_bytes(stay: Stay) -> int:
    kept_bytes = stay.residue_bytes or 0
    return kept_bytes if kept_bytes < MOST_SHARE * stay.total_bytes else 0


LEAK = Rule(
    "leak",
    "Leak per load",
    "What the last three unloads on an endpoint each left taken, by the least of them.",
    Severity.WARNING,
    Unit.MEBIBYTES,
    Limits(64, 16, 0),
    _leaking,
)
