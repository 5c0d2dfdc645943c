"""Bounds of the goals that need no search: every demand as if it were alone."""

from __future__ import annotations

from models_app.solver.choices import Choice
from models_app.solver.dominance import Choices
from models_app.solver.goals import credit
from models_app.solver.result import Goal
from models_app.solver.types import Demand, Problem


def trivial_bounds(problem: Problem, choices_by_demand: Choices) -> list[int]:
    """In the order of the goals: for the maximised the sum of every demand's best, for the others 0."""
    found = dict.fromkeys(Goal, 0)
    for demand in problem.demands:
        choices = choices_by_demand[demand.name]
        found[Goal.RESIDENCY] += _most(demand, choices, resident=True)
        found[Goal.PINS] += _most(demand, choices, resident=True) if demand.pinned_devices is not None else 0
        found[Goal.QUALITY] += _most(demand, choices, resident=False)
    return [found[goal] for goal in Goal]


def _most(demand: Demand, choices: tuple[Choice, ...], *, resident: bool) -> int:
    each = max((credit(choice.option) if resident else choice.option.quality for choice in choices), default=0)
    return demand.weight * demand.replicas * each
