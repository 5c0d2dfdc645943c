"""The goals one after the other by CP-SAT, each fixed at what it reached before the next is tried.

The work is bounded by CP-SAT's deterministic time, so that the same problem has the same answer on any machine that is
fast enough; the wall clock only guards slower ones.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from ortools.sat.python import cp_model

from models_app.solver.bounds import trivial_bounds
from models_app.solver.choices import choices_of
from models_app.solver.dominance import undominated
from models_app.solver.goals import better, values
from models_app.solver.greedy import upgraded
from models_app.solver.model import PlacementModel
from models_app.solver.model_rules import add_rules
from models_app.solver.reading import hint, read
from models_app.solver.result import Goal, GoalResult
from models_app.solver.types import Assignment, Problem

SEED = 7
SHARES = {
    Goal.PINS: 0.2,
    Goal.RESIDENCY: 0.4,
    Goal.QUALITY: 0.8,
    Goal.LATENCY: 0.5,
    Goal.DISRUPTION: 0.5,
    Goal.BALANCE: 1.0,
}
"""What a goal may use of the time that is left when its turn comes."""
WORK_A_SECOND = 1.0
"""Deterministic time that CP-SAT gets through in a second, or less."""
LEAST_SECONDS = 0.01
SECONDS_A_SEAT = 3e-5


@dataclass(frozen=True, slots=True)
class Found:
    """The best assignments found, and for each goal what was reached and what is not ruled out."""

    assignments: tuple[Assignment, ...]
    goals: tuple[GoalResult, ...]


class Search:
    """A problem, the time that it has left, and the best so far. ``ends`` is a moment of the monotonic clock."""

    def __init__(self, problem: Problem, start: tuple[Assignment, ...], seconds: float, ends: float) -> None:
        self._ends = ends
        self._work = seconds * WORK_A_SECOND
        self._problem = problem
        self._choices = {demand.name: choices_of(problem, demand) for demand in problem.demands}
        self._best, self._values = start, values(problem, start)
        self._bounds = trivial_bounds(problem, self._choices)

    def run(self) -> Found:
        """All goals in order."""
        for at, goal in enumerate(Goal):
            if self._values[at] != self._bounds[at]:
                self._improve(at, goal)
        goals = zip(Goal, self._values, self._bounds, strict=True)
        return Found(self._best, tuple(GoalResult(goal, value, bound) for goal, value, bound in goals))

    def _improve(self, at: int, goal: Goal) -> None:
        if min(self._ends - time.monotonic(), self._work) < self._building_seconds(goal):
            return
        model = self._model(at, goal)
        hint(model, self._best, goal)
        seconds = max(LEAST_SECONDS, self._ends - time.monotonic())
        solver = self._solver(min(seconds, 2 * seconds * SHARES[goal]), self._work * SHARES[goal])
        status = solver.solve(model.cp)
        self._work -= solver.response_proto.deterministic_time
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            self._take(read(model, solver.value))
            self._bound(at, goal, round(solver.best_objective_bound))
            self._take(upgraded(self._problem, self._best))

    def _building_seconds(self, goal: Goal) -> float:
        """What the goal's model takes to build and to begin with: not worth it in less time."""
        left = undominated(self._problem, self._choices, goal)
        return LEAST_SECONDS + SECONDS_A_SEAT * sum(
            1 + len(choice.devices) for listed in left.values() for choice in listed
        )

    def _model(self, at: int, goal: Goal) -> PlacementModel:
        """The model for a goal: the goals before it stay at least as good as they are."""
        model = PlacementModel(self._problem, undominated(self._problem, self._choices, goal))
        add_rules(model)
        for earlier, value in zip(list(Goal)[:at], self._values, strict=False):
            expression = model.goal[earlier]
            model.cp.add(expression >= value if earlier.maximised else expression <= value)
        expression = model.balance() if goal is Goal.BALANCE else model.goal[goal]
        model.cp.maximize(expression) if goal.maximised else model.cp.minimize(expression)
        return model

    def _solver(self, seconds: float, work: float) -> cp_model.CpSolver:
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = SEED
        solver.parameters.linearization_level = 2
        solver.parameters.max_time_in_seconds = seconds
        solver.parameters.max_deterministic_time = work
        return solver

    def _take(self, found: tuple[Assignment, ...]) -> None:
        scored = values(self._problem, found)
        if better(scored, self._values):
            self._best, self._values = found, scored

    def _bound(self, at: int, goal: Goal, bound: int) -> None:
        """Keeps the tighter bound. Rounding noise must not put it on the wrong side of what was reached."""
        tighter = min(bound, self._bounds[at]) if goal.maximised else max(bound, self._bounds[at])
        reached = self._values[at]
        self._bounds[at] = max(tighter, reached) if goal.maximised else min(tighter, reached)
