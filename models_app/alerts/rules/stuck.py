"""What does not come to its end: a model that is stopping for ever, and a load behind a scheduler that hangs."""

from __future__ import annotations

from collections.abc import Iterator

from models_app.alerts.rules.facts import Facts, Knock, RunningLoad
from models_app.alerts.rules.findings import Action, Figure, Limits, Page, Reading, Rule, Severity, Unit, lasting
from models_app.alerts.rules.past import Past
from models_app.alerts.rules.subjects import of_endpoint, of_model, unload
from models_app.backends.protocol import ModelState


def _stopping(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del limits
    for host, endpoint, model in facts.models():
        if model.state != ModelState.STOPPING:
            yield Reading(of_model(host, endpoint, model.name), 0 if endpoint.is_online else None)
            continue
        seconds = (facts.at - past.stopping_since.get(model.id, facts.at)).total_seconds()
        yield Reading(
            of_model(host, endpoint, model.name),
            seconds if endpoint.is_online else None,
            f"“Stopping…” for {lasting(seconds)}; its memory is not given back.",
            (Figure("Stopping for", round(seconds), Unit.SECONDS), Figure("Held", model.vram_bytes, Unit.BYTES)),
            "A request may still hold it. Unload it once more; if that does not help, restart the server on its host.",
            unload(model, f"Unload {model.name} again"),
        )


STOPPING = Rule(
    "stuck_stopping",
    "Stuck while stopping",
    "How long a model has been on its way out of memory. It takes seconds when all is well.",
    Severity.WARNING,
    Unit.SECONDS,
    Limits(60, 0, 0),
    _stopping,
)


def _deadlocked(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del limits
    loads: dict[int, list[RunningLoad]] = {}
    for load in facts.loads:
        loads.setdefault(load.endpoint_id, []).append(load)
    for host, endpoint in facts.endpoints():
        longest = max(loads.get(endpoint.id, ()), key=lambda load: _still_seconds(load, facts, past), default=None)
        if longest is None:
            yield Reading(of_endpoint(host, endpoint), 0)
            continue
        seconds = _still_seconds(longest, facts, past)
        knock = facts.knocks.get(endpoint.id)
        is_busy = knock is not None and knock.answered_seconds is not None
        yield Reading(
            of_endpoint(host, endpoint),
            0 if is_busy else seconds if endpoint.is_online else None,
            f"It answers, yet the load of {longest.model} has not moved for {lasting(seconds)}. {_said(knock)}".strip(),
            _figures(longest, seconds),
            "Cancel the load. If the next one hangs too, restart the server on its host; every model there is loaded anew.",
            Action(f"Cancel the load of {longest.model}", Page.CANCEL, {"operation_id": str(longest.operation_id)}),
        )


def _still_seconds(load: RunningLoad, facts: Facts, past: Past) -> float:
    rise = past.rises.get(load.operation_id)
    return (facts.at - (rise.since if rise else facts.at)).total_seconds()


def _said(knock: Knock | None) -> str:
    return "" if knock is None else "It was asked for a model that is in memory already, and did not answer in time."


def _figures(load: RunningLoad, seconds: float) -> tuple[Figure, ...]:
    figures = [
        Figure("Without progress for", round(seconds), Unit.SECONDS),
        Figure("Risen", load.risen_bytes, Unit.BYTES),
    ]
    if load.expected_bytes:
        figures.append(Figure("Expected", load.expected_bytes, Unit.BYTES))
    return tuple(figures)


DEADLOCK = Rule(
    "deadlock",
    "Scheduler hangs",
    "How long the load of an operation has not moved although its endpoint answers every other question.",
    Severity.CRITICAL,
    Unit.SECONDS,
    Limits(120, 0, 0),
    _deadlocked,
)
