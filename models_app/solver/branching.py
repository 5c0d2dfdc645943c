"""A goal proven among whole patterns, in parts (branch and price).

A part of all placements is cut in two by how many instances of a demand are somewhere, or served at all; always the part
with the highest bound (Barnhart and others, 1998). A part of which all patterns are few, or whose programme counts whole
numbers only, is searched: CP-SAT chooses among the patterns that lose least by the prices of the bound (``reach.py``). The
highest bound of all parts that are left is the bound of all.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from math import floor as rounded_down

from models_app.solver.looks import PATTERNS_AT_ONCE, SECONDS_OF_A_POOL, look_at_patterns
from models_app.solver.parts import Part
from models_app.solver.patterns import NOISE
from models_app.solver.reach import Pool, pool_reaching
from models_app.solver.relaxation import Relaxation
from models_app.solver.result import Goal
from models_app.solver.standing import Standing

SHARE_OF_A_PART = 0.2
"""Of what is left, what bounding a part may take."""
SECONDS_OF_A_SEARCH = 0.1
"""What choosing among a pool may take."""
FEW_PATTERNS = 200
"""Choosing among so many is faster than to cut their part."""
NEARLY = 1.5
"""How much more than in the part that it was cut off few patterns may have to lose here, so that they are listed."""


class Branching:
    """The parts of a goal's placements that may hold something better than what is known."""

    def __init__(self, known: Standing, at: int, goal: Goal, relaxation: Relaxation) -> None:
        self.known, self._at, self._goal = known, at, goal
        self._relaxation = relaxation
        self._parts: list[tuple[int, int, Part]] = []
        self._number = count()
        self._push(relaxation.part())

    def run(self, until: float, enough: Callable[[], bool] = bool) -> None:
        """Goes on with the part of the highest bound, until none is left, only so much work, or it is ``enough``."""
        while self._parts and self.known.goes_on(self._at, until) and not enough():
            self._go_on(heapq.heappop(self._parts)[-1], until)
            self._drop_to(self._parts[0][-1].bound if self._parts else self._value)

    def _pool(self, part: Part, most: int | None = None) -> Pool:
        """The best patterns of a part, more of them each time that it is searched."""
        most = most or PATTERNS_AT_ONCE[min(part.searched, len(PATTERNS_AT_ONCE) - 1)]
        self.known.spend(SECONDS_OF_A_POOL)
        return pool_reaching(self._relaxation.programme, part, self._value + 1, most)

    def _go_on(self, part: Part, until: float) -> None:
        """Bounds a part; searches it if few patterns are left of it or it cannot be cut, else cuts it."""
        if not part.bounded:
            self._add(self._bounded(part, until))
            return
        if part.fractional is None:
            self._add(self._searched(part, self._pool(part), until))
            return
        lost = part.few_lose
        if part.priced - self._value - 1 < NEARLY * lost:
            pool = self._pool(part, FEW_PATTERNS)
            if pool.elsewhere < self._value + 1 - NOISE:
                self._add(self._searched(part, pool, until))
                return
            lost = part.priced - pool.elsewhere
        for half in part.halves(lost):
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
        self._relaxation.tighten(before + SHARE_OF_A_PART * (self.known.work - until), self._value, self.known.ends)
        self.known.spend(self._relaxation.seconds - before)
        return self._relaxation.part()

    def _searched(self, part: Part, pool: Pool, until: float) -> Part:
        """Takes the best placement of a pool, if it is better. What is left of the part."""
        known = self.known
        look = look_at_patterns(known, self._relaxation.programme, part, pool)
        bound = look.taken(known, min(SECONDS_OF_A_SEARCH, known.work - until))
        return part.below(part.bound if bound is None else bound)

    def _drop_to(self, bound: float) -> None:
        self.known.bound(self._at, self._goal, rounded_down(bound + NOISE))

    @property
    def _value(self) -> int:
        return self.known.values[self._at]
