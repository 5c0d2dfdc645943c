"""The goals one after the other by CP-SAT, each fixed at what it reached before the next is tried.

The work is bounded by CP-SAT's deterministic time, so that the same problem has the same answer on any machine that is
fast enough; the wall clock only guards slower ones.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import floor as rounded_down
from math import isfinite

from ortools.sat.python import cp_model

from models_app.solver.bounds import trivial_bounds
from models_app.solver.choices import choices_of
from models_app.solver.dominance import Choices, undominated
from models_app.solver.goals import better, values
from models_app.solver.greedy import upgraded
from models_app.solver.model import PlacementModel
from models_app.solver.model_rules import add_rules
from models_app.solver.reading import hint, read
from models_app.solver.relaxation import NOISE, Relaxation
from models_app.solver.result import Goal, GoalResult
from models_app.solver.types import Assignment, Problem

SEED = 7
SHARES = {
    Goal.PINS: 0.2,
    Goal.RESIDENCY: 0.6,
    Goal.QUALITY: 0.9,
    Goal.LATENCY: 0.5,
    Goal.DISRUPTION: 0.5,
    Goal.BALANCE: 1.0,
}
"""What a goal may use of the time that is left when its turn comes."""
SHARE_OF_THE_BOUND = 0.5
"""Of a goal's work, what its bound may take before the search begins."""
SHARE_OF_WINDOWS = 0.7
"""Of a goal's work, what looking below the bound may take; if it does not settle the goal, the rest is for climbing."""
MOST_SEATS_BOUNDED = 12_000
"""Of a problem whose bound is worth its time; beyond, climbing alone gets further."""
FIRST_WINDOW = 0.3
"""Of what lies between the value and its bound."""
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
        if min(self._ends - time.monotonic(), self._work) < self._building_seconds(self._left(goal)):
            return
        work = self._work * SHARES[goal]
        if goal.maximised and _seats(self._left(goal)) <= MOST_SEATS_BOUNDED:
            work -= self._narrow(at, goal, work * SHARE_OF_WINDOWS)
        if self._values[at] != self._bounds[at] and work > self._building_seconds(self._left(goal)):
            self._climb(at, goal, work)

    def _narrow(self, at: int, goal: Goal, work: float) -> float:
        """From the top: looks for what lies in a window below the bound, among the few choices that can get there.

        If there is something, the best of it is the best of all; if not, the bound drops to the window's lower end, and
        the next window is twice as wide. Answers with the work that it took.
        """
        floors = dict(zip(list(Goal)[:at], self._values, strict=False))
        relaxation = Relaxation(self._problem, self._left(goal), goal, floors)
        relaxation.start(self._best)
        relaxation.tighten(work * SHARE_OF_THE_BOUND, self._values[at], self._ends)
        spent = self._spent(relaxation.seconds)
        if not isfinite(relaxation.bound):
            return spent
        self._bound(at, goal, rounded_down(relaxation.bound + NOISE))
        window = max(1.0, FIRST_WINDOW * (relaxation.bound - self._values[at]))
        while self._values[at] < self._bounds[at] and spent + LEAST_SECONDS < work:
            least = min(self._bounds[at], max(self._values[at] + 1, rounded_down(relaxation.bound - window) + 1))
            choices = relaxation.left(least)
            building = self._spent(self._building_seconds(choices))
            spent += building
            if spent < work:
                spent += self._look(at, goal, choices, least, work - spent)
            window *= 2
        return spent

    def _look(self, at: int, goal: Goal, choices: Choices, least: int, work: float) -> float:
        """Searches a window, and answers with the work that it took."""
        model = self._model(at, goal, choices)
        model.cp.add(model.goal[goal] >= least)
        model.cp.add(model.goal[goal] <= self._bounds[at])
        solver = self._solver(goal, work)
        status = solver.solve(model.cp)
        if status == cp_model.INFEASIBLE:
            # A presolve step of OR-Tools 9.15 can lose placements: what it rules out is asked again without that step.
            work -= self._spent(solver.response_proto.deterministic_time)
            solver = self._solver(goal, max(LEAST_SECONDS, work))
            solver.parameters.presolve_inclusion_work_limit = 0
            status = solver.solve(model.cp)
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            self._take(read(model, solver.value))
            self._take(upgraded(self._problem, self._best))
            self._bound(at, goal, rounded_down(solver.best_objective_bound + NOISE))
        elif status == cp_model.INFEASIBLE:
            self._bound(at, goal, least - 1)
        return self._spent(solver.response_proto.deterministic_time)

    def _climb(self, at: int, goal: Goal, work: float) -> None:
        """Begins with the best so far, and looks for better ones among all choices."""
        model = self._model(at, goal, self._left(goal))
        hint(model, self._best, goal)
        solver = self._solver(goal, work)
        status = solver.solve(model.cp)
        self._spent(solver.response_proto.deterministic_time)
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            self._take(read(model, solver.value))
            self._bound(at, goal, round(solver.best_objective_bound))
            self._take(upgraded(self._problem, self._best))

    def _spent(self, work: float) -> float:
        self._work -= work
        return work

    def _left(self, goal: Goal) -> Choices:
        return undominated(self._problem, self._choices, goal)

    def _building_seconds(self, choices: Choices) -> float:
        """What a model of these choices takes to build and to begin with: not worth it in less time."""
        return LEAST_SECONDS + SECONDS_A_SEAT * _seats(choices)

    def _model(self, at: int, goal: Goal, choices: Choices) -> PlacementModel:
        """The model for a goal: the goals before it stay at least as good as they are."""
        model = PlacementModel(self._problem, choices)
        add_rules(model)
        for earlier, value in zip(list(Goal)[:at], self._values, strict=False):
            expression = model.goal[earlier]
            model.cp.add(expression >= value if earlier.maximised else expression <= value)
        expression = model.balance() if goal is Goal.BALANCE else model.goal[goal]
        model.cp.maximize(expression) if goal.maximised else model.cp.minimize(expression)
        return model

    def _solver(self, goal: Goal, work: float) -> cp_model.CpSolver:
        seconds = max(LEAST_SECONDS, self._ends - time.monotonic())
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = SEED
        solver.parameters.linearization_level = 2
        solver.parameters.max_time_in_seconds = min(seconds, 2 * seconds * SHARES[goal])
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


def _seats(choices: Choices) -> int:
    """How many variables a model of these choices has, about."""
    return sum(1 + len(choice.devices) for listed in choices.values() for choice in listed)
