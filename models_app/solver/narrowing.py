"""A maximised goal from the top: a bound, then the placements just below it, among the few things that can be in them.

A window is what lies between a value and the bound. If it holds a placement, the best there is the best of all; if not, the
bound drops to the window's lower end. Windows are searched among the seats that are not ruled out for them. On many GPUs
CP-SAT does so on one core, while whole patterns lower the bound on another (``branching.py``).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import floor as rounded_down
from math import isfinite

from ortools.sat.python import cp_model

from models_app.solver.branching import Branching
from models_app.solver.looks import Look, look_at_patterns, look_at_seats
from models_app.solver.parts import Part
from models_app.solver.relaxation import NOISE, Relaxation
from models_app.solver.result import Goal
from models_app.solver.standing import LEAST_SECONDS, Standing

SHARE_OF_THE_BOUND = 0.5
"""Of a goal's work, what its bound may take before the search begins."""
FEW_GPUS = 4
"""With no more, windows of seats settle more than patterns."""
FIRST_WINDOW = 0.3
"""Of what lies between the value and its bound."""
FIRST_ROUND = {Goal.PINS: 0.08, Goal.RESIDENCY: 0.08, Goal.QUALITY: 0.3}
"""The work of the first round on two cores; each further one has twice as much."""


class Narrowing:
    """The windows of a goal, from the top."""

    def __init__(self, known: Standing, at: int, goal: Goal) -> None:
        self._known, self._at, self._goal = known, at, goal
        self._relaxation = Relaxation(known.problem, known.left(goal), goal, known.floors(at))
        self._window = 1.0

    def run(self, work: float) -> None:
        """Spends no more than ``work``."""
        until = self._known.work - work
        self._relaxation.start(self._known.assignments)
        self._relaxation.tighten(work * SHARE_OF_THE_BOUND, self._value, self._known.ends)
        self._known.spend(self._relaxation.seconds)
        if not isfinite(self._relaxation.bound):
            return
        self._drop_to(self._relaxation.bound)
        if self._settled():
            return
        root = self._relaxation.part()
        self._window = max(1.0, FIRST_WINDOW * (root.bound - self._value))
        if self._gpus() > FEW_GPUS:
            self._on_two_cores(root, until)
        else:
            self._seats(root, until)

    def _gpus(self) -> int:
        return sum(len(gpus.devices) for gpus in self._relaxation.programme.classes)

    def _seats(self, root: Part, until: float) -> None:
        """Windows of seats, each twice as wide as the one before."""
        known = self._known
        while not self._settled() and known.work > until + LEAST_SECONDS:
            look = self._next_window(root)
            if known.work > until:
                self._take(look, known.solve(look.model, known.work - until, look.solver))

    def _on_two_cores(self, root: Part, until: float) -> None:
        """CP-SAT looks at seats and at patterns in turn, while parts are bounded: rounds, each twice as long."""
        known, beside = self._known, self._known.twin()
        branching = Branching(beside, self._at, self._goal, self._relaxation)
        patterns, work = self._goal is Goal.QUALITY, FIRST_ROUND[self._goal]
        while not self._settled() and known.work > until + LEAST_SECONDS:
            if patterns:
                look = look_at_patterns(known, self._relaxation.programme, root, branching.pool(root))
            else:
                look = self._next_window(root)
            self._round(look, branching, beside, min(work, known.work - until))
            patterns, work = not patterns, 2 * work

    def _round(self, look: Look, branching: Branching, beside: Standing, work: float) -> None:
        """Both for so much work. What CP-SAT settles comes first, so that the answer does not depend on who is faster."""
        known = self._known
        known.limit(look.solver, work)
        beside.work = known.work
        beside.take(known.assignments)
        with ThreadPoolExecutor(max_workers=1) as other_core:
            answer = other_core.submit(look.solver.solve, look.model)
            branching.run(known.work - work, lambda: look.exact and answer.done() and answer.result() == cp_model.OPTIMAL)
            if beside.proven(self._at) and not look.exact:
                look.solver.stop_search()
        spent = known.work - beside.work
        if not (beside.proven(self._at) and not look.exact):
            self._take(look, answer.result())
            seconds = look.solver.response_proto.deterministic_time
            spent = seconds if self._settled() else max(seconds, spent)
        if not self._settled():
            known.take(beside.assignments)
            known.bound(self._at, self._goal, beside.bounds[self._at])
        known.spend(spent)

    def _next_window(self, root: Part) -> Look:
        """Twice as wide as the one before."""
        least = max(self._value + 1, min(self._bound, rounded_down(root.bound - self._window) + 1))
        self._window *= 2
        return look_at_seats(self._known, self._at, self._goal, self._relaxation.programme, root, least)

    def _take(self, look: Look, status: cp_model.CpSolverStatus) -> None:
        if (found := look.placement(status)) is not None:
            self._known.take(found)
        if (bound := look.bound(status)) is not None:
            self._drop_to(bound)

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
