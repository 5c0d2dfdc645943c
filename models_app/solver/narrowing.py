"""A maximised goal from the top: a bound, then the placements just below it, among the few things that can be in them.

A window is what lies between a value and the bound. If it holds a placement, the best there is the best of all; if not, the
bound drops to the window's lower end. Windows are searched among the seats that are not ruled out for them. For quality on
many GPUs whole patterns are looked at before (``branching.py``).
"""

from __future__ import annotations

from math import floor as rounded_down
from math import isfinite

from ortools.sat.python import cp_model

from models_app.solver.branching import Branching
from models_app.solver.greedy import upgraded
from models_app.solver.parts import Part
from models_app.solver.reach import choices_reaching
from models_app.solver.reading import read
from models_app.solver.relaxation import NOISE, Relaxation
from models_app.solver.result import Goal
from models_app.solver.standing import LEAST_SECONDS, SOLVED, Standing, building_seconds, look_within, thorough_solver

SHARE_OF_THE_BOUND = 0.5
"""Of a goal's work, what its bound may take before the search begins."""
FEW_GPUS = 4
"""With no more, windows of seats settle more than patterns."""
FIRST_WINDOW = 0.3
"""Of what lies between the value and its bound."""


class Narrowing:
    """The windows of a goal, from the top."""

    def __init__(self, known: Standing, at: int, goal: Goal) -> None:
        self._known, self._at, self._goal = known, at, goal
        self._relaxation = Relaxation(known.problem, known.left(goal), goal, known.floors(at))

    def run(self, work: float) -> None:
        """Spends no more than ``work``."""
        until = self._known.work - work
        self._relaxation.start(self._known.assignments)
        self._relaxation.tighten(work * SHARE_OF_THE_BOUND, self._value, self._known.ends)
        self._known.spend(self._relaxation.seconds)
        if not isfinite(self._relaxation.bound):
            return
        self._drop_to(self._relaxation.bound)
        root = self._relaxation.part()
        if self._goal is not Goal.QUALITY:
            self._seats(root, self._known.work - 0.4 * (self._known.work - until))
        if not self._settled() and self._gpus() > FEW_GPUS:
            Branching(self._known, self._at, self._goal, self._relaxation).run(root, until)
        if not self._settled():
            self._seats(root, until)

    def _gpus(self) -> int:
        return sum(len(gpus.devices) for gpus in self._relaxation.programme.classes)

    def _seats(self, root: Part, until: float) -> None:
        """Windows of seats, each twice as wide as the one before."""
        window = max(1.0, FIRST_WINDOW * (root.bound - self._value))
        while not self._settled() and self._known.work > until + LEAST_SECONDS:
            self._look(root, max(self._value + 1, min(self._bound, rounded_down(root.bound - window) + 1)), until)
            window *= 2

    def _look(self, root: Part, least: int, until: float) -> None:
        """Searches a window of seats."""
        known, solver = self._known, thorough_solver()
        choices = choices_reaching(self._relaxation.programme, root, least)
        known.spend(building_seconds(choices))
        if known.work <= until:
            return
        model = known.model(self._at, self._goal, choices)
        look_within(model.cp, model.goal[self._goal], least, self._bound)
        status = known.solve(model.cp, known.work - until, solver)
        if status in SOLVED:
            known.take(read(model, solver.value))
            known.take(upgraded(known.problem, known.assignments))
            self._drop_to(solver.best_objective_bound)
        elif status == cp_model.INFEASIBLE:
            self._drop_to(least - 1)

    def _drop_to(self, bound: float) -> None:
        self._known.bound(self._at, self._goal, rounded_down(bound + NOISE))

    def _settled(self) -> bool:
        return self._known.proven(self._at)

    @property
    def _value(self) -> int:
        return self._known.values[self._at]

    @property
    def _bound(self) -> int:
        return self._known.bounds[self._at]
