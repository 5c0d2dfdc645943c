"""The goals one after the other by CP-SAT, each fixed at what it reached before the next is tried."""

from __future__ import annotations

import time
from dataclasses import dataclass

from models_app.solver.dominance import Choices
from models_app.solver.greedy import upgraded
from models_app.solver.narrowing import Narrowing
from models_app.solver.reading import hint, read
from models_app.solver.result import Goal, GoalResult
from models_app.solver.standing import SOLVED, Standing, building_seconds, seats_of, thorough_solver
from models_app.solver.types import Assignment, Problem

SHARES = {
    Goal.PINS: 0.2,
    Goal.RESIDENCY: 0.6,
    Goal.QUALITY: 0.9,
    Goal.LATENCY: 0.5,
    Goal.DISRUPTION: 0.5,
    Goal.BALANCE: 1.0,
}
"""What a goal may use of the time that is left when its turn comes."""
SHARE_OF_NARROWING = {Goal.PINS: 0.7, Goal.RESIDENCY: 0.7, Goal.QUALITY: 0.9}
"""Of a goal's work, what looking below the bound may take; if it does not settle the goal, the rest is for climbing."""
MOST_SEATS_BOUNDED = 12_000
"""Of a problem whose bound is worth its time; beyond, climbing alone gets further."""


@dataclass(frozen=True, slots=True)
class Found:
    """The best assignments found, and for each goal what was reached and what is not ruled out."""

    assignments: tuple[Assignment, ...]
    goals: tuple[GoalResult, ...]


class Search:
    """A problem, the time that it has left, and the best so far. ``ends`` is a moment of the monotonic clock."""

    def __init__(self, problem: Problem, start: tuple[Assignment, ...], seconds: float, ends: float) -> None:
        self._known = Standing(problem, start, seconds, ends)

    def run(self) -> Found:
        """All goals in order."""
        for at, goal in enumerate(Goal):
            if not self._known.proven(at):
                self._improve(at, goal)
        goals = zip(Goal, self._known.values, self._known.bounds, strict=True)
        return Found(self._known.assignments, tuple(GoalResult(goal, value, bound) for goal, value, bound in goals))

    def _improve(self, at: int, goal: Goal) -> None:
        known = self._known
        choices = known.left(goal)
        if min(known.ends - time.monotonic(), known.work) < building_seconds(choices):
            return
        reserve = known.work * (1 - SHARES[goal])
        if goal.maximised and seats_of(choices) <= MOST_SEATS_BOUNDED:
            Narrowing(known, at, goal).run((known.work - reserve) * SHARE_OF_NARROWING[goal])
        self._climb(at, goal, choices, known.work - reserve)

    def _climb(self, at: int, goal: Goal, choices: Choices, work: float) -> None:
        """Begins with the best so far, and looks for better ones among all choices."""
        known = self._known
        if known.proven(at) or work < building_seconds(choices):
            return
        model, solver = known.model(at, goal, choices), thorough_solver()
        hint(model, known.assignments, goal)
        if known.solve(model.cp, work, solver) in SOLVED:
            known.take(read(model, solver.value))
            known.bound(at, goal, round(solver.best_objective_bound))
            known.take(upgraded(known.problem, known.assignments))
