"""What a plan does not meet, and the changes that would, as buttons."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from models_app.plans import records
from models_app.plans.demand import read_demand
from models_app.plans.fleet import Fleet
from models_app.plans.models import Plan
from models_app.plans.records import RemedyRow, UnmetRow
from models_app.solver.result import Change

_ICONS = {
    Change.QUANTISE: "download",
    Change.SHORTEN: "memory-stick",
    Change.PULL: "download",
    Change.DROP: "x",
    Change.ADD_GPU: "plus",
    Change.ADD_RAM: "memory-stick",
    Change.RELAX: "arrow-left-right",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """A change as a button: ``fields`` are those of a what-if that has it solved; empty where Berth cannot suppose it.

    ``url`` is the page that carries it out, where it is not a supposition.
    """

    remedy: RemedyRow
    icon: str
    fields: tuple[tuple[str, str], ...]
    url: str = ""


@dataclass(frozen=True, slots=True)
class UnmetLine:
    """A demand that is not fully met, with the changes that would meet it."""

    row: UnmetRow
    priority: int
    offers: tuple[Offer, ...]


def unmet_lines(plan: Plan, fleet: Fleet) -> tuple[UnmetLine, ...]:
    """Everything that a plan does not fully meet, the first priority first."""
    priority = {document["name"]: read_demand(document).priority for document in plan.demands}
    lines = [UnmetLine(row, priority.get(row.demand, 0), _offers(plan, fleet, row)) for row in records.unmet(plan.unmet)]
    return tuple(sorted(lines, key=lambda line: line.priority))


def _offers(plan: Plan, fleet: Fleet, row: UnmetRow) -> tuple[Offer, ...]:
    return tuple(
        Offer(remedy, _ICONS[Change(remedy.change)], _fields(plan, fleet, row, remedy), _url(remedy))
        for remedy in row.remedies
    )


def _url(remedy: RemedyRow) -> str:
    """Where a pull is asked for, filled in."""
    if remedy.change != Change.PULL:
        return ""
    return f"{reverse('model_pull')}?{urlencode({'endpoint': remedy.endpoint_id, 'model': remedy.model})}"


def _fields(plan: Plan, fleet: Fleet, row: UnmetRow, remedy: RemedyRow) -> tuple[tuple[str, str], ...]:
    """The what-if that supposes the change: other demands, or one GPU more."""
    demands, changes = _demands_with(plan, row.demand, remedy), dict(plan.changes)
    if remedy.change == Change.ADD_GPU:
        host = next((name for name in fleet.hosts if fleet.gpus(name)), "")
        changes["added_gpus"] = [*changes.get("added_gpus", []), {"host": host, "bytes": remedy.bytes, "name": "Added GPU"}]
        demands = plan.demands if host else None
    if demands is None:
        return ()
    return (("demands", json.dumps(demands)), ("changes", json.dumps(changes)))


def _demands_with(plan: Plan, name: str, remedy: RemedyRow) -> list[dict[str, Any]] | None:
    changed: dict[str, Any] = {}
    if remedy.change == Change.DROP:
        return [_without(document, remedy.demands) for document in plan.demands if document["name"] not in remedy.demands]
    if remedy.change == Change.SHORTEN:
        changed = {"least_context_length": remedy.context_length}
    elif remedy.change == Change.RELAX and remedy.on_demand:
        changed = {"on_demand": True, "tolerated_wait_seconds": None}
    elif remedy.change == Change.RELAX:
        changed = {"hosts": [], "gpus": [], "pinned_gpus": []}
    if not changed:
        return None
    return [document | changed if document["name"] == name else document for document in plan.demands]


def _without(document: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """A demand that no longer speaks of those that are dropped."""
    rules = {
        field: [name for name in document[field] if name not in names]
        for field in ("together_with", "apart_from")
        if field in document
    }
    return document | rules
