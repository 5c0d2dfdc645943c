"""An enforced plan that somebody will not have: Berth has put a model right again and again, and lets it be."""

from __future__ import annotations

from collections.abc import Iterator

from models_app.alerts.rules.facts import Facts
from models_app.alerts.rules.findings import Action, Figure, Limits, Page, Reading, Rule, Severity, Unit
from models_app.alerts.rules.past import Past
from models_app.alerts.rules.subjects import of_model


def _stopped(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del past, limits
    endpoints = {endpoint.id: (host, endpoint) for host, endpoint in facts.endpoints()}
    for stop in facts.stops:
        if stop.endpoint_id in endpoints:
            fields = {"plan_id": str(stop.plan_id), "enforce": "on"}
            seconds = round((facts.at - stop.at).total_seconds())
            yield Reading(
                of_model(*endpoints[stop.endpoint_id], stop.model),
                stop.correction_count,
                stop.reason,
                (Figure("Put right", stop.correction_count, Unit.TIMES), Figure("Left alone for", seconds, Unit.SECONDS)),
                "Find out who loads or unloads it, or take it out of the plan. Then enforce the plan again.",
                Action("Enforce the plan again", Page.ENFORCE, fields),
            )


ENFORCEMENT_STOPPED = Rule(
    "enforcement_stopped",
    "Plan no longer enforced",
    "How often a model of the active plan was put right before it drifted once more and Berth let it be.",
    Severity.WARNING,
    Unit.TIMES,
    Limits(1, 0, 0),
    _stopped,
)
