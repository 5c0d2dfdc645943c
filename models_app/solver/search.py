"""The goals one after the other by CP-SAT, each fixed at what it reached before the next is tried.

The work is bounded by CP-SAT's deterministic time, so that the same problem has the same answer on any machine that is
fast enough; the wall clock only guards slower ones.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from ortools.sat.python import cp_model

from models_app.solver.bounds import trivial_bounds
from models_app.solver.goals import better, values
from models_app.solver.model import PlacementModel
from models_app.solver.model_rules import add_rules
from models_app.solver.reading import hint, read
from models_app.solver.result import Goal, GoalResult
from models_app.solver.types import Assignment, Problem

SEED = 7
SHARES = {Goal.PINS: 0.2, Goal.RESIDENCY: 0.4, Goal.QUALITY: 0.8, Goal.LATENCY: 0.5, Goal.DISRUPTION: 0.5, Goal.BALANCE: 1.0}
"""What a goal may use of the time that is left when its turn comes."""
WORK_A_SECOND = 1.0
"""Deterministic time that CP-SAT gets through in a second, or less."""
LEAST_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Found:
    """The best assignments found, and for each goal what was reached and what is not ruled out."""

    assignments: tuple[Assignment, ...]
    goals: tuple[GoalResult, ...]


class Search:
    """A model, the time that it has left, and the best so far."""

    def __init__(self, problem: Problem, start: tuple[Assignment, ...], seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        self._work = seconds * WORK_A_SECOND
        self._problem = problem
        self._model = PlacementModel(problem)
        add_rules(self._model)
        self._best, self._values = start, values(problem, start)
        self._bounds = trivial_bounds(self._model)

    def run(self) -> Found:
        """All goals in order."""
        for at, goal in enumerate(Goal):
            if self._values[at] != self._bounds[at]:
                self._improve(at, goal)
            expression = self._model.goal[goal]
            value = self._values[at]
            self._model.cp.add(expression >= value if goal.maximised else expression <= value)
        goals = zip(Goal, self._values, self._bounds, strict=True)
        return Found(self._best, tuple(GoalResult(goal, value, bound) for goal, value, bound in goals))

    def _improve(self, at: int, goal: Goal) -> None:
        seconds = self._ends - time.monotonic()
        if min(seconds, self._work) < LEAST_SECONDS:
            return
        solver = self._solver(min(seconds, 2 * seconds * SHARES[goal]), self._work * SHARES[goal])
        hint(self._model, self._best)
        expression = self._model.goal[goal]
        self._model.cp.maximize(expression) if goal.maximised else self._model.cp.minimize(expression)
        status = solver.solve(self._model.cp)
        self._work -= solver.response_proto.deterministic_time
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            self._take(read(self._model, solver.value))
            self._bound(at, goal, round(solver.best_objective_bound))

    def _solver(self, seconds: float, work: float) -> cp_model.CpSolver:
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = SEED
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
