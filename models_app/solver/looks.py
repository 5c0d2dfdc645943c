"""Questions to CP-SAT: the best placement of a window of seats, or of a pool of patterns, and what the answer proves.

A window is what lies between a value and the bound. If it holds a placement, the best there is the best of all; if not, the
bound drops to the window's lower end. Windows are searched among the seats that are not ruled out for them. For a pool see
``reach.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import floor as rounded_down

from ortools.sat.python import cp_model

from models_app.solver.greedy import upgraded
from models_app.solver.packing import PackingModel
from models_app.solver.parts import Part
from models_app.solver.patterns import NOISE
from models_app.solver.programme import Programme
from models_app.solver.reach import Pool, choices_reaching, pool_reaching
from models_app.solver.reading import read
from models_app.solver.repacking import Repacking
from models_app.solver.result import Goal
from models_app.solver.seating import seated
from models_app.solver.standing import (
    SOLVED,
    Standing,
    brisk_solver,
    building_seconds,
    look_within,
    thorough_solver,
)
from models_app.solver.types import Assignment
from models_app.solver.unpacking import unpacked

PATTERNS_AT_ONCE = (500, 1500, 2500, 4000, 8000, 16_000)
"""How many a pool may have when a part is searched the first time, the second and so on."""
SECONDS_OF_A_POOL, SECONDS_A_PATTERN = 4e-3, 4e-5
"""What it takes to list patterns, and to build a programme of them."""
SECONDS_OF_A_LOOK = 0.3
"""What choosing among a pool may take."""
LEAST_COVERED = 0.05
"""Of what lies between the bound and what is known: where as many patterns settle less, seats get further."""
LITTLE = 0.015
"""Of the bound: where no more is missing, a question often finds it at once."""
FIRST_WINDOW = 0.3
"""Of what lies between the value and its bound."""


@dataclass(frozen=True, slots=True)
class Look:
    """A model to maximise, and how to read it. What it does not have is worth no more than ``elsewhere``."""

    model: cp_model.CpModel
    solver: cp_model.CpSolver
    reading: Callable[[], tuple[Assignment, ...]]
    elsewhere: float

    def taken(self, known: Standing, work: float) -> float | None:
        """Solves within so much work, and keeps what is better. What nothing is worth more than, if the answer says so."""
        status = known.solve(self.model, work, self.solver)
        if status in SOLVED:
            known.take(self.reading())
            return max(self.solver.best_objective_bound, self.elsewhere)
        return self.elsewhere if status == cp_model.INFEASIBLE else None


def look_at_seats(known: Standing, at: int, goal: Goal, programme: Programme, root: Part, least: int) -> Look:
    """The placements worth ``least`` or more, among the seats that are not ruled out for them."""
    solver = thorough_solver()
    choices = choices_reaching(programme, root, least)
    known.spend(building_seconds(choices))
    model = known.model(at, goal, choices)
    look_within(model.cp, model.goal[goal], least, known.bounds[at])
    return Look(model.cp, solver, lambda: upgraded(known.problem, read(model, solver.value)), least - 1)


def look_at_patterns(known: Standing, programme: Programme, part: Part, pool: Pool) -> Look:
    """The placements of a part that use the patterns of a pool, or those of the best placement so far."""
    known.spend(SECONDS_A_PATTERN * len(pool))
    begin = seated(programme, known.assignments)
    model = PackingModel(programme, pool.patterns, programme.limits_of(part.counts), begin)
    model.cp.add(model.worth <= rounded_down(part.bound + NOISE))
    model.cp.maximize(model.worth)
    solver = _packer()
    return Look(model.cp, solver, lambda: upgraded(known.problem, unpacked(model, solver.value)), pool.elsewhere)


class Looks:
    """A goal by pools, each larger than the one before, and then repacking, or by windows, each twice as wide."""

    def __init__(self, known: Standing, at: int, goal: Goal, programme: Programme, root: Part) -> None:
        self.known, self._at, self._goal = known, at, goal
        self._programme, self._root = programme, root
        self._repacking = Repacking(known, at, goal)
        self._solver: cp_model.CpSolver | None = None
        self._stopped = False

    def run(self, until: float, *, pools: bool = True) -> None:
        """Until the goal is settled or only so much work is left."""
        if pools and self._goal is Goal.QUALITY:
            self._pools(until)
            if self._root.bound - self._value > LITTLE * self._root.bound:
                self._repacking.run(until)
        self._windows(until)

    def stop(self) -> None:
        """Ends what runs on another core."""
        self._stopped = True
        self._repacking.stop()
        if self._solver is not None:
            self._solver.stop_search()

    def _windows(self, until: float) -> None:
        gap = self._root.bound - self._value
        window = max(1.0, FIRST_WINDOW * gap)
        while self._go_on(until):
            least = max(self._value + 1, min(self.known.bounds[self._at], rounded_down(self._root.bound - window) + 1))
            look = look_at_seats(self.known, self._at, self._goal, self._programme, self._root, least)
            self._answer(look, self.known.work - until)
            window *= 2

    def _pools(self, until: float) -> None:
        """The first if it settles anything, for it finds much; larger ones while each settles enough of what is left."""
        for number, most in enumerate(PATTERNS_AT_ONCE):
            if not self._go_on(until):
                return
            pool = pool_reaching(self._programme, self._root, self._value + 1, most)
            self.known.spend(SECONDS_OF_A_POOL)
            enough = LEAST_COVERED * (self._root.bound - self._value) if number else NOISE
            if self._root.bound - pool.elsewhere < enough:
                return
            look = look_at_patterns(self.known, self._programme, self._root, pool)
            self._answer(look, min(SECONDS_OF_A_LOOK, self.known.work - until))

    def _answer(self, look: Look, work: float) -> None:
        if work > 0 and not self._stopped:
            self._solver = look.solver
            bound = look.taken(self.known, work)
            if bound is not None:
                self.known.bound(self._at, self._goal, rounded_down(bound + NOISE))

    def _go_on(self, until: float) -> bool:
        return not self._stopped and self.known.goes_on(self._at, until)

    @property
    def _value(self) -> int:
        return self.known.values[self._at]


def _packer() -> cp_model.CpSolver:
    """With the whole linear relaxation at once, and its cuts: a packing is decided by them."""
    solver = brisk_solver()
    solver.parameters.add_lp_constraints_lazily = False
    solver.parameters.add_zero_half_cuts = True
    return solver
