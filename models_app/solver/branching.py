"""Quality proven by cutting all placements in parts, and searching a part among whole patterns (branch and price).

Models split over several GPUs are what the bound knows least about: a fraction of one may take single seats. So a part is
cut in two by how many instances of a demand an endpoint splits, always the one with the highest bound, until the programme
splits whole numbers of them (Barnhart and others, 1998). Then the patterns that a value just below its bound can use are
listed, and CP-SAT chooses among them. If there is a placement, the best is the best of the part; if not, its bound drops.
The highest bound of all parts that are left is the bound of all.
"""

from __future__ import annotations

import heapq
from itertools import count
from math import floor as rounded_down

import numpy as np
from ortools.sat.python import cp_model

from models_app.solver.enumeration import Patterns
from models_app.solver.greedy import upgraded
from models_app.solver.packing import PackingModel
from models_app.solver.parts import Part
from models_app.solver.reach import patterns_reaching
from models_app.solver.relaxation import NOISE, Relaxation
from models_app.solver.result import Goal
from models_app.solver.standing import LEAST_SECONDS, SOLVED, Standing, brisk_solver, look_within
from models_app.solver.unpacking import unpacked

SHARE_OF_A_PART = 0.2
"""Of what is left, what bounding a part may take."""
PATTERNS_AT_ONCE = (1500, 2500, 4000, 8000, 16_000)
"""How many a window of a part may have, the first time, the second and so on."""
SECONDS_OF_A_WINDOW, SECONDS_A_PATTERN = 5e-3, 5e-6
"""What enumerating patterns takes."""
SECONDS_A_PATTERN_PACKED = 3e-5
"""What a programme of them takes to build."""


class Branching:
    """The parts of a goal's placements that may hold something better than what is known."""

    def __init__(self, known: Standing, at: int, goal: Goal, relaxation: Relaxation) -> None:
        self._known, self._at, self._goal = known, at, goal
        self._relaxation = relaxation
        self._parts: list[tuple[int, int, Part]] = []
        self._number = count()

    def run(self, root: Part, until: float) -> None:
        """Cuts or searches the part of the highest bound until none is left, or so much work."""
        self._add(root)
        while self._parts and self._known.work > until + LEAST_SECONDS:
            part = heapq.heappop(self._parts)[-1]
            self._drop_to(part.bound)
            if self._known.proven(self._at):
                return
            left = self._search(part, until)
            if left is not None:
                self._add(left)
            elif part.fractional:
                self._halve(part, until)
            else:
                self._push(part)
                return
        self._drop_to(self._parts[0][-1].bound if self._parts else self._value)

    def _add(self, part: Part) -> None:
        """Keeps a part that may hold something better."""
        if part.bound >= self._value + 1 - NOISE:
            self._push(part)

    def _push(self, part: Part) -> None:
        """By the whole number below the bound; among equals the newest, which is nearest to a placement."""
        heapq.heappush(self._parts, (-rounded_down(part.bound + NOISE), -next(self._number), part))

    def _halve(self, part: Part, until: float) -> None:
        for counts in part.halves():
            self._relaxation.turn_to(counts, part)
            before = self._relaxation.seconds
            most = before + SHARE_OF_A_PART * (self._known.work - until)
            self._relaxation.tighten(most, self._value, self._known.ends)
            self._known.spend(self._relaxation.seconds - before)
            self._add(self._relaxation.part())

    def _search(self, part: Part, until: float) -> Part | None:
        """Searches a window of whole patterns. What is left of the part, ``None`` if nothing became known."""
        window = self._window(part)
        if window is None:
            return None
        least, patterns = window
        self._known.spend(SECONDS_A_PATTERN_PACKED * sum(map(len, patterns)))
        programme = self._relaxation.programme
        model, solver = PackingModel(programme, patterns, programme.limits_of(part.counts)), _packer()
        look_within(model.cp, model.worth, least, rounded_down(part.bound + NOISE))
        status = self._known.solve(model.cp, self._known.work - until, solver)
        if status in SOLVED:
            self._known.take(upgraded(self._known.problem, unpacked(model, solver.value)))
            return part.below(solver.best_objective_bound)
        return part.below(least - 1) if status == cp_model.INFEASIBLE else None

    def _window(self, part: Part) -> tuple[int, list[Patterns]] | None:
        """Few enough patterns, and the lowest value that no others can reach; a part that can be cut is settled or left."""
        most = PATTERNS_AT_ONCE[min(part.searched, len(PATTERNS_AT_ONCE) - 1)]
        if part.fractional is None:
            return self._uppermost(part, most)
        found = self._patterns(part, self._value + 1, most)
        return (self._value + 1, found) if found is not None and sum(map(len, found)) <= most else None

    def _uppermost(self, part: Part, most: int) -> tuple[int, list[Patterns]] | None:
        """As many patterns as may be at most, sought from the bound down."""
        top = least = rounded_down(part.bound + NOISE)
        window = None
        while (found := self._patterns(part, least, 2 * most)) is not None:
            losses = np.concatenate([patterns.losses for patterns in found])
            if len(losses) > most:
                least = rounded_down(part.priced - np.partition(losses, most)[most] + NOISE) + 1
                found = [patterns.within(part.priced - least + NOISE) for patterns in found]
                return (least, found) if least <= top else window
            window = least, found
            if least == self._value + 1:
                break
            least = max(self._value + 1, least - (top - least) - 1)
        return window

    def _patterns(self, part: Part, least: int, most: int) -> list[Patterns] | None:
        found = patterns_reaching(self._relaxation.programme, part, least, most)
        self._known.spend(SECONDS_OF_A_WINDOW + SECONDS_A_PATTERN * sum(map(len, found or [])))
        return found

    def _drop_to(self, bound: float) -> None:
        self._known.bound(self._at, self._goal, rounded_down(bound + NOISE))

    @property
    def _value(self) -> int:
        return self._known.values[self._at]


def _packer() -> cp_model.CpSolver:
    """With the whole linear relaxation at once, and its cuts: a packing is decided by them."""
    solver = brisk_solver()
    solver.parameters.add_lp_constraints_lazily = False
    solver.parameters.add_zero_half_cuts = True
    return solver
