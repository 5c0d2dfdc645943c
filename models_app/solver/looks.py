"""Questions to CP-SAT: the best placement of a window of seats, or of a pool of patterns, and what the answer proves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import floor as rounded_down

from ortools.sat.python import cp_model

from models_app.solver.greedy import upgraded
from models_app.solver.packing import PackingModel
from models_app.solver.parts import Part
from models_app.solver.programme import Programme
from models_app.solver.reach import Pool, choices_reaching
from models_app.solver.reading import read
from models_app.solver.relaxation import NOISE
from models_app.solver.result import Goal
from models_app.solver.seating import seated
from models_app.solver.standing import SOLVED, Standing, brisk_solver, building_seconds, look_within, thorough_solver
from models_app.solver.types import Assignment
from models_app.solver.unpacking import unpacked

SECONDS_A_PATTERN = 4e-5
"""What it takes to build a programme of patterns."""


@dataclass(frozen=True, slots=True)
class Look:
    """A model to maximise, and how to read it. What it does not have is worth no more than ``elsewhere``.

    ``exact`` where the model has every rule, so that its optimum is one.
    """

    model: cp_model.CpModel
    solver: cp_model.CpSolver
    reading: Callable[[], tuple[Assignment, ...]]
    elsewhere: float
    exact: bool

    def placement(self, status: cp_model.CpSolverStatus) -> tuple[Assignment, ...] | None:
        """What was found, if anything was."""
        return self.reading() if status in SOLVED else None

    def bound(self, status: cp_model.CpSolverStatus) -> float | None:
        """What nothing is worth more than, if the answer says so."""
        if status in SOLVED:
            return max(self.solver.best_objective_bound, self.elsewhere)
        return self.elsewhere if status == cp_model.INFEASIBLE else None


def look_at_seats(known: Standing, at: int, goal: Goal, programme: Programme, root: Part, least: int) -> Look:
    """The placements worth ``least`` or more, among the seats that are not ruled out for them."""
    solver = thorough_solver()
    choices = choices_reaching(programme, root, least)
    known.spend(building_seconds(choices))
    model = known.model(at, goal, choices)
    look_within(model.cp, model.goal[goal], least, known.bounds[at])
    return Look(model.cp, solver, lambda: upgraded(known.problem, read(model, solver.value)), least - 1, exact=True)


def look_at_patterns(known: Standing, programme: Programme, part: Part, pool: Pool) -> Look:
    """The placements of a part that use the patterns of a pool, or those of the best placement so far."""
    known.spend(SECONDS_A_PATTERN * len(pool))
    begin = seated(programme, known.assignments)
    model = PackingModel(programme, pool.patterns, programme.limits_of(part.counts), begin)
    model.cp.add(model.worth <= rounded_down(part.bound + NOISE))
    model.cp.maximize(model.worth)
    solver = _packer()
    return Look(
        model.cp, solver, lambda: upgraded(known.problem, unpacked(model, solver.value)), pool.elsewhere, exact=False
    )


def _packer() -> cp_model.CpSolver:
    """With the whole linear relaxation at once, and its cuts: a packing is decided by them."""
    solver = brisk_solver()
    solver.parameters.add_lp_constraints_lazily = False
    solver.parameters.add_zero_half_cuts = True
    return solver
