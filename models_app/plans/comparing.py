"""Two plans side by side: goal by goal, and demand by demand where each puts it."""

from __future__ import annotations

from dataclasses import dataclass

from models_app.plans import records
from models_app.plans.fleet import Fleet, fleet_of, label_of
from models_app.plans.models import Plan
from models_app.plans.records import GoalRow, Instance
from models_app.solver.result import Goal


@dataclass(frozen=True, slots=True)
class ComparedGoal:
    """A goal under both plans. ``better`` is -1 where the first is, 1 where the second is, 0 where neither."""

    goal: str
    first: int | None
    second: int | None
    better: int


@dataclass(frozen=True, slots=True)
class ComparedDemand:
    """Where each plan puts a demand, in words, an empty tuple where it does not. ``differs`` says whether they agree."""

    demand: str
    first: tuple[str, ...]
    second: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether the plans do not agree on it."""
        return self.first != self.second


@dataclass(frozen=True, slots=True)
class Compared:
    """Two plans side by side."""

    goals: tuple[ComparedGoal, ...]
    demands: tuple[ComparedDemand, ...]


def compare(first: Plan, second: Plan) -> Compared:
    """Both plans' goals and placements; demands that only one of them knows are there too."""
    one, other = _placed(first), _placed(second)
    names = dict.fromkeys([*(document["name"] for plan in (first, second) for document in plan.demands)])
    goals = [(_goals(first).get(goal), _goals(second).get(goal), goal) for goal in Goal]
    return Compared(
        tuple(_goal(goal, mine, theirs) for mine, theirs, goal in goals),
        tuple(ComparedDemand(name, one.get(name, ()), other.get(name, ())) for name in names),
    )


def _goals(plan: Plan) -> dict[str, GoalRow]:
    return {row.goal: row for row in records.goals(plan.goals)}


def _goal(goal: Goal, mine: GoalRow | None, theirs: GoalRow | None) -> ComparedGoal:
    if mine is None or theirs is None or mine.value == theirs.value:
        better = 0
    else:
        better = -1 if (mine.value > theirs.value) == goal.maximised else 1
    return ComparedGoal(goal.value, mine.value if mine else None, theirs.value if theirs else None, better)


def _placed(plan: Plan) -> dict[str, tuple[str, ...]]:
    fleet = fleet_of(plan.fleet)
    found: dict[str, list[str]] = {}
    for instance in records.instances(plan.instances):
        if instance.demand:
            found.setdefault(instance.demand, []).append(in_words(instance, fleet))
    return {name: tuple(sorted(listed)) for name, listed in found.items()}


def in_words(instance: Instance, fleet: Fleet) -> str:
    """``qwen2.5-coder:14b, 16,384 tokens, atlas · GPU 0``."""
    context = f", {instance.context_length:,} tokens" if instance.context_length else ""
    layers = f", {instance.layers} layers on the GPU" if instance.layers is not None and instance.gpus else ""
    where = label_of(fleet.pool, instance.gpus) or f"{instance.host} · CPU"
    return f"{instance.model}{context}{layers}, {where}{', when asked for' if instance.swapped else ''}"
