"""What a search knows so far and the work that it has left: the best placement, and for each goal what is not ruled out.

The work is counted in seconds of a processor, but by CP-SAT's deterministic time and by what is done, so that the same
problem has the same answer on any machine that is fast enough; the wall clock only guards slower ones.
"""

from __future__ import annotations

import time
from copy import copy

from ortools.sat.python import cp_model

from models_app.solver.bounds import trivial_bounds
from models_app.solver.choices import choices_of
from models_app.solver.dominance import Choices, undominated
from models_app.solver.goals import better, values
from models_app.solver.model import PlacementModel
from models_app.solver.model_rules import add_rules
from models_app.solver.result import Goal
from models_app.solver.types import Assignment, Problem

SEED = 7
SECONDS_OF_WORK = 1.0
"""What a unit of CP-SAT's deterministic time takes, or less."""
LEAST_SECONDS = 0.01
SECONDS_A_SEAT = 3e-5
SOLVED = (cp_model.OPTIMAL, cp_model.FEASIBLE)


class Standing:
    """The best ``assignments`` and their ``values``, the ``bounds``, and ``work``. ``ends`` is of the monotonic clock."""

    def __init__(self, problem: Problem, start: tuple[Assignment, ...], seconds: float, ends: float) -> None:
        self.problem = problem
        self.ends = ends
        self.work = seconds
        self.choices = {demand.name: choices_of(problem, demand) for demand in problem.demands}
        self.assignments, self.values = start, values(problem, start)
        self.bounds = trivial_bounds(problem, self.choices)

    def proven(self, at: int) -> bool:
        """Whether nothing better is possible for a goal, given those before it."""
        return self.values[at] == self.bounds[at]

    def take(self, found: tuple[Assignment, ...]) -> None:
        """Keeps the better one."""
        scored = values(self.problem, found)
        if better(scored, self.values):
            self.assignments, self.values = found, scored

    def bound(self, at: int, goal: Goal, bound: int) -> None:
        """Keeps the tighter bound. Rounding noise must not put it on the wrong side of what was reached."""
        tighter = min(bound, self.bounds[at]) if goal.maximised else max(bound, self.bounds[at])
        reached = self.values[at]
        self.bounds[at] = max(tighter, reached) if goal.maximised else min(tighter, reached)

    def twin(self) -> Standing:
        """One that goes on by itself from here."""
        other = copy(self)
        other.bounds = list(self.bounds)
        return other

    def become(self, other: Standing) -> None:
        """Goes on from what another knows."""
        self.assignments, self.values, self.bounds = other.assignments, other.values, list(other.bounds)
        self.work = other.work

    def spend(self, work: float) -> None:
        """Takes work off what is left."""
        self.work -= work

    def goes_on(self, at: int, until: float) -> bool:
        """Whether a goal is open, and there is more work and time left than so much."""
        return not self.proven(at) and self.work > until + LEAST_SECONDS and time.monotonic() < self.ends

    def floors(self, at: int) -> dict[Goal, int]:
        """What the goals before this one reached."""
        return dict(zip(list(Goal)[:at], self.values, strict=False))

    def left(self, goal: Goal) -> Choices:
        """The choices that matter for a goal."""
        return undominated(self.problem, self.choices, goal)

    def model(self, at: int, goal: Goal, choices: Choices) -> PlacementModel:
        """The model for a goal: the goals before it stay at least as good as they are."""
        model = PlacementModel(self.problem, choices)
        add_rules(model)
        for earlier, value in self.floors(at).items():
            expression = model.goal[earlier]
            model.cp.add(expression >= value if earlier.maximised else expression <= value)
        expression = model.balance() if goal is Goal.BALANCE else model.goal[goal]
        model.cp.maximize(expression) if goal.maximised else model.cp.minimize(expression)
        return model

    def solve(self, model: cp_model.CpModel, work: float, solver: cp_model.CpSolver) -> cp_model.CpSolverStatus:
        """Solves within so much work, and takes off what it took."""
        self.limit(solver, work)
        status = solver.solve(model)
        self.spend(solver.response_proto.deterministic_time * SECONDS_OF_WORK)
        return status

    def limit(self, solver: cp_model.CpSolver, work: float) -> None:
        """Allows so much work, and no more than the clock does."""
        solver.parameters.max_time_in_seconds = max(LEAST_SECONDS, self.ends - time.monotonic())
        solver.parameters.max_deterministic_time = max(LEAST_SECONDS, work) / SECONDS_OF_WORK


def thorough_solver() -> cp_model.CpSolver:
    """One worker, the same each time, with the full linear relaxation.

    The presolve of OR-Tools 9.15 must not look for constraints that include others: with that step it calls placements
    infeasible that exist (``test_a_presolve_step_that_loses_placements_stays_off``).
    """
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = SEED
    solver.parameters.linearization_level = 2
    solver.parameters.presolve_inclusion_work_limit = 0
    return solver


def brisk_solver() -> cp_model.CpSolver:
    """Without a long presolve, which takes more than it saves where a model is small."""
    solver = thorough_solver()
    solver.parameters.cp_model_probing_level = 0
    solver.parameters.symmetry_level = 0
    solver.parameters.max_presolve_iterations = 1
    return solver


def sprinter() -> cp_model.CpSolver:
    """For problems that take milliseconds: without cuts, and without what only pays after some time."""
    solver = brisk_solver()
    solver.parameters.cut_level = 0
    solver.parameters.use_sat_inprocessing = False
    return solver


def look_within(model: cp_model.CpModel, worth: cp_model.LinearExprT, least: int, most: int) -> None:
    """Asks for the best placement of a window."""
    model.add(worth >= least)
    model.add(worth <= most)
    model.maximize(worth)


def seats_of(choices: Choices) -> int:
    """How many variables a model of these choices has, about."""
    return sum(1 + len(choice.devices) for listed in choices.values() for choice in listed)


def building_seconds(choices: Choices) -> float:
    """What a model of these choices takes to build and to begin with: not worth it in less time."""
    return LEAST_SECONDS + SECONDS_A_SEAT * seats_of(choices)
