"""Quality proven among whole patterns: the best of them first, then in parts (branch and price).

CP-SAT chooses among the few hundred patterns that lose least by the prices of the bound (``reach.py``). That finds a
placement that is nearly always better than what is known, and lowers the bound to what any other pattern may reach. If
both do not meet, a part is cut in two by how many instances of a demand are split over several GPUs, for models that are
split are what the bound knows least about (Barnhart and others, 1998); always the part with the highest bound. A part of
which all patterns are few, or whose programme splits whole numbers, is searched. The highest bound of all parts that are
left is the bound of all.
"""

from __future__ import annotations

import heapq
from itertools import count
from math import floor as rounded_down

from ortools.sat.python import cp_model

from models_app.solver.greedy import upgraded
from models_app.solver.packing import PackingModel
from models_app.solver.parts import Part
from models_app.solver.reach import Pool, pool_reaching
from models_app.solver.relaxation import NOISE, Relaxation
from models_app.solver.result import Goal
from models_app.solver.seating import seated
from models_app.solver.standing import LEAST_SECONDS, SOLVED, Standing, brisk_solver
from models_app.solver.unpacking import unpacked

SHARE_OF_A_PART = 0.2
"""Of what is left, what bounding a part may take."""
PATTERNS_AT_ONCE = (500, 1500, 2500, 4000, 8000, 16_000)
"""How many a pool may have when a part is searched the first time, the second and so on."""
SECONDS_OF_A_POOL, SECONDS_A_PATTERN = 4e-3, 4e-5
"""What it takes to list patterns and to build a programme of them."""
SECONDS_OF_A_LOOK = 0.3
"""What choosing among a pool may take."""
FEW_PATTERNS = 200
"""Choosing among so many is faster than to cut their part."""


class Branching:
    """The parts of a goal's placements that may hold something better than what is known."""

    def __init__(self, known: Standing, at: int, goal: Goal, relaxation: Relaxation) -> None:
        self._known, self._at, self._goal = known, at, goal
        self._relaxation = relaxation
        self._parts: list[tuple[int, int, Part]] = []
        self._number = count()

    def run(self, root: Part, until: float) -> None:
        """The best patterns first; then the part of the highest bound, until none is left or only so much work."""
        pool = self._pool(root)
        self._add(self._searched(root, pool, until) if pool.elsewhere < root.bound - NOISE else root)
        while self._parts and self._known.work > until + LEAST_SECONDS:
            part = heapq.heappop(self._parts)[-1]
            self._drop_to(part.bound)
            if self._known.proven(self._at):
                return
            self._go_on(part, until)
        self._drop_to(self._parts[0][-1].bound if self._parts else self._value)

    def _go_on(self, part: Part, until: float) -> None:
        """Searches a part if few patterns are left of it or it cannot be cut, else cuts it."""
        if not part.bounded:
            self._add(self._bounded(part, until))
            return
        pool = self._pool(part, FEW_PATTERNS if part.fractional else None)
        if part.fractional is None or (part.counts and pool.elsewhere < self._value + 1 - NOISE):
            self._add(self._searched(part, pool, until))
        else:
            for half in part.halves():
                self._push(half)

    def _add(self, part: Part) -> None:
        """Keeps a part that may hold something better."""
        if part.bound >= self._value + 1 - NOISE:
            self._push(part)

    def _push(self, part: Part) -> None:
        """By the whole number below the bound; among equals the newest, which is nearest to a placement."""
        heapq.heappush(self._parts, (-rounded_down(part.bound + NOISE), -next(self._number), part))

    def _bounded(self, part: Part, until: float) -> Part:
        """A part that was cut off another, with a bound of its own."""
        self._relaxation.turn_to(part.counts, part)
        before = self._relaxation.seconds
        self._relaxation.tighten(before + SHARE_OF_A_PART * (self._known.work - until), self._value, self._known.ends)
        self._known.spend(self._relaxation.seconds - before)
        return self._relaxation.part()

    def _pool(self, part: Part, most: int | None = None) -> Pool:
        """The best patterns of a part, more of them each time that it is searched."""
        most = most or PATTERNS_AT_ONCE[min(part.searched, len(PATTERNS_AT_ONCE) - 1)]
        pool = pool_reaching(self._relaxation.programme, part, self._value + 1, most)
        self._known.spend(SECONDS_OF_A_POOL)
        return pool

    def _searched(self, part: Part, pool: Pool, until: float) -> Part:
        """Takes the best placement of a pool, if it is better. What is left of the part."""
        known, programme = self._known, self._relaxation.programme
        known.spend(SECONDS_A_PATTERN * len(pool))
        begin = seated(programme, known.assignments)
        model = PackingModel(programme, pool.patterns, programme.limits_of(part.counts), begin)
        model.cp.add(model.worth <= rounded_down(part.bound + NOISE))
        model.cp.maximize(model.worth)
        solver = packer()
        status = known.solve(model.cp, min(SECONDS_OF_A_LOOK, known.work - until), solver)
        if status in SOLVED:
            known.take(upgraded(known.problem, unpacked(model, solver.value)))
            return part.below(max(solver.best_objective_bound, pool.elsewhere))
        return part.below(pool.elsewhere if status == cp_model.INFEASIBLE else part.bound)

    def _drop_to(self, bound: float) -> None:
        self._known.bound(self._at, self._goal, rounded_down(bound + NOISE))

    @property
    def _value(self) -> int:
        return self._known.values[self._at]


def packer() -> cp_model.CpSolver:
    """With the whole linear relaxation at once, and its cuts: a packing is decided by them."""
    solver = brisk_solver()
    solver.parameters.add_lp_constraints_lazily = False
    solver.parameters.add_zero_half_cuts = True
    return solver
