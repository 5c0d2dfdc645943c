"""A plan for the screen: its verdict, its moves, what it does not meet, and the changes that would."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from models_app.plans import records
from models_app.plans.comparing import in_words
from models_app.plans.demand import read_demand
from models_app.plans.fleet import Fleet, fleet_of, label_of
from models_app.plans.freshness import differences, outdated_demands
from models_app.plans.models import Plan
from models_app.plans.records import GoalRow, Instance, PlanStep, RemedyRow, UnmetRow
from models_app.solver.result import Change, Goal
from models_app.web.plan_bars import HostRows, host_rows

GOALS = {
    Goal.PINS: ("Pinned demands", "more is better: priority × 3 for each pinned instance on its GPUs"),
    Goal.RESIDENCY: ("Served", "more is better: priority × 3 for each instance on GPUs, × 1 with layers on the CPU"),
    Goal.QUALITY: ("Quality", "more is better: priority × 0 to 10, by the variant and the context"),
    Goal.LATENCY: ("Latency", "less is better: priority × milliseconds of a typical request, loads included"),
    Goal.DISRUPTION: ("Disruption", "less is better: priority of what is moved or unloaded"),
    Goal.BALANCE: ("Fullest GPU", "less is better: thousandths of the fullest GPU in use"),
}
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
class GoalLine:
    """A goal with its name, what it counts, and how its value compares with the greedy allocation's."""

    row: GoalRow
    title: str
    counts: str
    beats_greedy: bool

    @property
    def gap_percent(self) -> int:
        """How far it may be from the best, in percent, rounded up."""
        return -int(-100 * self.row.gap // 1)


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


@dataclass(frozen=True, slots=True)
class Placed:
    """Where an instance goes, in words; ``was`` says how it runs today, empty where it does not."""

    instance: Instance
    where: str
    was: str


@dataclass(frozen=True, slots=True)
class Move:
    """A step in words. ``after`` are the numbers, from 1, of the steps that it waits for."""

    step: PlanStep
    where: str
    after: tuple[int, ...]


@dataclass(frozen=True)
class PlanPage:
    """What the page shows."""

    plan: Plan
    fleet: Fleet
    hosts: tuple[HostRows, ...]
    goals: tuple[GoalLine, ...]
    unmet: tuple[UnmetLine, ...]
    placed: tuple[Placed, ...]
    moves: tuple[Move, ...]
    impossible: tuple[str, ...]
    difference: tuple[str, ...]
    news: tuple[str, ...]

    @property
    def key(self) -> str:
        """The plan's id as text."""
        return str(self.plan.pk)

    @property
    def met(self) -> int:
        """How many demands are fully met."""
        return len(self.plan.demands) - len(self.unmet)

    @property
    def loads(self) -> int:
        """How many steps load something."""
        return sum(move.step.act == "load" for move in self.moves)

    @property
    def unloads(self) -> int:
        """How many steps unload something."""
        return len(self.moves) - self.loads

    @property
    def beats_greedy(self) -> bool:
        """Whether the first goal on which they differ is better than the greedy allocation's."""
        return next((goal.beats_greedy for goal in self.goals if goal.row.value != goal.row.baseline), False)

    @property
    def foreign(self) -> tuple[str, ...]:
        """Models of other clients that the plan unloads."""
        return tuple(
            move.step.instance.model for move in self.moves if move.step.act == "unload" and move.step.instance.foreign
        )


def plan_page(plan: Plan) -> PlanPage:
    """The page of a solved plan; of one that is not, only what is known."""
    fleet = fleet_of(plan.fleet)
    today, planned = records.instances(plan.today), records.instances(plan.instances)
    is_draft = plan.state == Plan.State.DRAFT
    return PlanPage(
        plan=plan,
        fleet=fleet,
        hosts=host_rows(fleet, today, planned, plan.swap_bytes),
        goals=tuple(_goal(row) for row in records.goals(plan.goals) if row.goal != Goal.PINS or row.bound),
        unmet=_unmet(plan, fleet),
        placed=tuple(_placed(each, fleet, today) for each in planned),
        moves=_moves(plan, fleet),
        impossible=tuple(in_words(each, fleet) for each in records.instances(plan.impossible)),
        difference=tuple(differences(plan) if is_draft else plan.difference),
        news=tuple(outdated_demands(plan)) if is_draft and not plan.changes else (),
    )


def _goal(row: GoalRow) -> GoalLine:
    goal = Goal(row.goal)
    title, counts = GOALS[goal]
    return GoalLine(row, title, counts, row.value > row.baseline if goal.maximised else row.value < row.baseline)


def _placed(instance: Instance, fleet: Fleet, today: tuple[Instance, ...]) -> Placed:
    same = (each for each in today if (each.endpoint_id, each.model) == (instance.endpoint_id, instance.model))
    was = next(same, None)
    stays = was is not None and (was.gpus, was.context_length) == (instance.gpus, instance.context_length)
    before = "stays as it is" if stays else in_words(was, fleet) if was else ""
    return Placed(instance, label_of(fleet.pool, instance.gpus) or f"{instance.host} · CPU", before)


def _moves(plan: Plan, fleet: Fleet) -> tuple[Move, ...]:
    found = []
    for step in records.steps(plan.steps):
        where = label_of(fleet.pool, step.instance.gpus) or f"{step.instance.host} · CPU"
        waits = set(step.after) - {earlier for number in step.after for earlier in plan.steps[number]["after"]}
        found.append(Move(step, where, tuple(number + 1 for number in sorted(waits))))
    return tuple(found)


def _unmet(plan: Plan, fleet: Fleet) -> tuple[UnmetLine, ...]:
    """The first priority first."""
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
