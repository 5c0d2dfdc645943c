"""A bound for residency and quality that knows what packs.

Each GPU takes a mixture of whole patterns (``patterns.py``), so that the bound is far below that of mixing bytes. Patterns
are made as they are asked for (column generation; Dantzig and Wolfe, 1960): the prices of the linear programme say which
would help. Whatever the prices, they bound the goal (Lagrange). Over 200 lines, for the programme, its prices and
its rows are one state.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from ortools.linear_solver import pywraplp

from models_app.solver.counts import Count, CountAt, Counts, Kind
from models_app.solver.dominance import Choices
from models_app.solver.parts import Part
from models_app.solver.patterns import NOISE, Floats, Pattern, dearest
from models_app.solver.programme import Programme
from models_app.solver.reach import classes_reaching
from models_app.solver.result import Goal
from models_app.solver.seating import seated
from models_app.solver.types import Assignment, Problem

SMOOTHING = 0.5
"""How much of the best prices so far is mixed into the next, for fewer rounds (Wentges, 1997)."""
PRICE_OF_A_FLOOR = 60.0
"""What the programme pays to stay below an earlier goal by one, until it has the patterns to reach it."""
PRICE_OF_A_COUNT = 1000.0
"""The same for each instance that is missing from a count."""
SECONDS_A_ROUND, SECONDS_A_SEAT, SECONDS_A_PATTERN = 1e-3, 4e-6, 3e-6
"""What the programme and its prices take, so that the work is bounded without a clock."""
CUT_FIRST = {
    Kind.SERVED: 1e4,
    Kind.SPILLED: 1e4,
    Kind.SPLIT: 100.0,
    Kind.AS_GOOD: 30.0,
    Kind.SPLIT_HERE: 3.0,
    Kind.HERE: 1.0,
}
"""Whether a model is served, spilled, split or how well says more than where, among hosts that are alike."""
WHOLE = 1e-4
"""A count that is so near to a whole number is one."""
_PARAMETERS = "use_preprocessing: false use_dual_simplex: false use_scaling: false"


class Relaxation:
    """The programme of a goal. ``bound`` holds at any time; ``seconds`` is the work that was done for it."""

    def __init__(self, problem: Problem, choices: Choices, goal: Goal, floors: Mapping[Goal, int]) -> None:
        self.bound = math.inf
        self.seconds = 0.0
        self.programme = Programme(problem, choices, goal, floors)
        self._duals: Floats = np.zeros(len(self.programme.limits))
        self._counts: Counts = {}
        self._few_lose = math.inf
        self._limits = self.programme.limits
        self._counting = self.programme.counting()
        self._says = np.array([CUT_FIRST[kind] * problem.demand[name].weight for kind, name, _ in self.programme.counts])
        self._replicas = {demand.name: demand.replicas for demand in problem.demands}
        self._alone: dict[str, list[int]] = {name: [] for name in self._replicas}
        for seat, at in enumerate(self.programme.seat_choice):
            if self.programme.choices[at].size == 1:
                self._alone[self.programme.choices[at].demand.name].append(seat)
        self._rounds = 0
        self._changed = self._optimal = True
        self._build()

    def _build(self) -> None:
        programme, infinity = self.programme, math.inf
        self._made: list[dict[tuple[int, ...], None]] = [{} for _ in programme.classes]
        self._patterns: list[tuple[tuple[int, ...], Any]] = []
        self._lp: Any = pywraplp.Solver.CreateSolver("GLOP")  # type: ignore[no-untyped-call]
        self._lp.SetSolverSpecificParametersAsString(_PARAMETERS)
        self._rows = [self._lp.Constraint(-infinity, float(limit)) for limit in programme.limits]
        self._shares = [self._lp.Constraint(-infinity, float(len(gpus.devices))) for gpus in programme.classes]
        self._objective = self._lp.Objective()
        self._objective.SetMaximization()
        columns = zip(programme.columns, programme.column_rows, strict=True)
        self._columns = [self._column(column.worth, terms, column.most) for column, terms in columns]
        for row in (row for row, limit in zip(self._rows, programme.limits, strict=True) if limit < 0):
            self._breakable(row, PRICE_OF_A_FLOOR)
        for at in programme.counted_already:
            self._breakable(self._rows[at], PRICE_OF_A_COUNT)

    def _breakable(self, row: Any, price: float) -> None:
        """The programme may break a row at a price, until it has the patterns to keep it."""
        variable = self._column(-price, np.zeros(0), math.inf)
        row.SetCoefficient(variable, -1.0)

    def _column(self, worth: float, terms: Floats, most: float) -> Any:
        self._changed = True
        variable = self._lp.NumVar(0.0, most, "")
        self._objective.SetCoefficient(variable, float(worth))
        for at in np.flatnonzero(terms):
            self._rows[at].SetCoefficient(variable, float(terms[at]))
        return variable

    def start(self, assignments: tuple[Assignment, ...]) -> None:
        """Begins with the patterns of a placement."""
        for number, gpus in enumerate(seated(self.programme, assignments).gpus):
            for seats in gpus:
                self._add(number, Pattern(0.0, seats, self.programme.swaps(seats)))

    def tighten(self, seconds: float, reached: int, ends: float = math.inf) -> None:
        """Adds patterns until the bound is the programme's or proves ``reached``, or time is up (``ends`` is monotonic)."""
        while self.seconds < seconds and self.bound >= reached + 1 - NOISE and time.monotonic() < ends:
            self.seconds += SECONDS_A_ROUND + SECONDS_A_PATTERN * sum(map(len, self._made))
            if not self._solved() or self._is_tight():
                return
            duals = np.maximum(0.0, [row.dual_value() for row in self._rows])
            mixed = SMOOTHING * self._duals + (1 - SMOOTHING) * duals
            if not (np.isfinite(self.bound) and self._price(mixed)) and not self._price(duals):
                return

    def _solved(self) -> bool:
        """Whether the programme has an optimum; solves it if it has changed since."""
        if self._changed:
            self._changed, self._optimal = False, self._lp.Solve() == pywraplp.Solver.OPTIMAL
        return self._optimal

    def _is_tight(self) -> bool:
        """Whether no whole number lies between the programme and the bound: more patterns would not lower it by one."""
        return math.isfinite(self.bound) and float(self._objective.Value()) >= math.floor(self.bound + NOISE) + NOISE

    def part(self) -> Part:
        """What is bounded now."""
        return Part(self.bound, self.bound, self._duals, self._counts, self._fractional(), few_lose=self._few_lose)

    def turn_to(self, counts: Counts, part: Part) -> None:
        """Goes on with what of a part has such counts; the bound of the part holds for it too."""
        for at in counts:
            self._count(at)
        self._few_lose = part.few_lose
        self._counts, self._limits = counts, self.programme.limits_of(counts)
        self.bound, self._duals = part.priced, self.programme.padded(part.duals)
        for row, limit in zip(self._rows, self._limits, strict=True):
            row.SetUb(float(limit))
        self._changed = True

    def narrow(self, root: Part, least: int) -> None:
        """Leaves out the seats and the patterns that are in no placement worth ``least``. All bounds are of these then."""
        programme, made, allowance = self.programme, self._made, root.priced - least + NOISE
        duals = programme.padded(root.duals)
        prices = (programme.seat_worth - programme.seat_rows @ duals).tolist()
        swap_prices = programme.swap_rows @ duals
        programme.classes = classes_reaching(programme, root, least)
        kept = []
        for number, (gpus, swap_price) in enumerate(zip(programme.classes, swap_prices, strict=True)):
            best = dearest(gpus, prices, float(swap_price)).value
            left = {seat.at: seat for group in (*gpus.groups, gpus.swapped) for seat in group}
            for taken in made[number]:
                if all(at in left for at in taken):
                    seats = tuple(left[at] for at in taken)
                    pattern = Pattern(sum(prices[at] for at in taken), seats, programme.swaps(seats))
                    if best - pattern.value + pattern.swaps * float(swap_price) <= allowance:
                        kept.append((number, pattern))
        self._build()
        for number, pattern in kept:
            self._add(number, pattern)

    def _count(self, at: CountAt) -> None:
        """Adds the rows that count instances, if the linear programme does not have them."""
        count = self.programme.counts.get(at, Count())
        counted = frozenset(count.seats)
        for place, sign in zip(self.programme.counted(at), (-1.0, 1.0), strict=True):
            if place < len(self._rows):
                continue
            row = self._lp.Constraint(-math.inf, float(self.programme.limits[place]))
            self._rows.append(row)
            for column in count.columns:
                row.SetCoefficient(self._columns[column], sign)
            for taken, variable in self._patterns:
                if instances := len(counted.intersection(taken)):
                    row.SetCoefficient(variable, sign * instances)
            if sign < 0:
                self._breakable(row, PRICE_OF_A_COUNT)

    def _fractional(self) -> tuple[CountAt, int] | None:
        """The count of instances that is farthest from whole, by weight and by what it says."""
        if not self._solved():
            return None
        sitting = np.zeros(len(self.programme.seat_worth))
        for taken, variable in self._patterns:
            if (share := variable.solution_value()) > NOISE:
                sitting[list(taken)] += share
        columns = np.array([variable.solution_value() for variable in self._columns])
        counts = self._counting[0] @ sitting + self._counting[1] @ columns[: len(self.programme.columns)]
        off = np.abs(counts - np.round(counts))
        if not np.any(off > WHOLE):
            return None
        farthest = int(np.argmax(np.where(off > WHOLE, off * self._says, 0.0)))
        return list(self.programme.counts)[farthest], math.floor(counts[farthest])

    def _price(self, duals: Floats) -> bool:
        """Bounds by these prices, and adds the dearest pattern of each class. Whether any was new."""
        programme = self.programme
        prices = programme.seat_worth - programme.seat_rows @ duals
        bound = float(duals @ self._limits) + float(self._beside(duals).sum())
        listed, patterns = prices.tolist(), list[Pattern]()
        for gpus, swap_price in zip(programme.classes, programme.swap_rows @ duals, strict=True):
            self.seconds += SECONDS_A_SEAT * sum(len(group) for group in gpus.groups)
            patterns.append(dearest(gpus, listed, float(swap_price)))
            bound += len(gpus.devices) * patterns[-1].value
        if bound < self.bound:
            self.bound, self._duals = bound, duals
        new = sum(self._add(number, pattern) for number, pattern in enumerate(patterns))
        self._rounds += 1
        if new and self._rounds % 3 == 0:
            self._complement(listed, programme.swap_rows @ duals)
        return new > 0

    def _complement(self, prices: list[float], swap_prices: Floats) -> None:
        """Adds patterns that go together: GPU by GPU the dearest one of the demands that are not yet served."""
        programme, left = self.programme, prices.copy()
        instances = dict(self._replicas)
        for number in range(len(programme.classes)):
            gpus = programme.classes[number]
            for _ in gpus.devices:
                pattern = dearest(gpus, left, float(swap_prices[number]))
                if not pattern.seats:
                    break
                self._add(number, pattern)
                for seat in pattern.seats:
                    instances[seat.demand] -= 1
                    if instances[seat.demand] <= 0:
                        for at in self._alone[seat.demand]:
                            left[at] = 0.0

    def _beside(self, duals: Floats) -> Floats:
        """What the columns that are no pattern are worth at most."""
        columns = self.programme.columns
        each = np.array([column.worth for column in columns]) - self.programme.column_rows @ duals
        most = np.array([column.most for column in columns])
        return np.maximum(0.0, each) * most if columns else np.zeros(0)

    def _add(self, number: int, pattern: Pattern) -> bool:
        """A column for a pattern of a class, if it is a new one."""
        at = sorted(seat.at for seat in pattern.seats)
        if not at or tuple(at) in self._made[number]:
            return False
        programme = self.programme
        terms = programme.seat_rows.total(at) + (programme.swap_rows[number] if pattern.swaps else 0.0)
        variable = self._column(programme.seat_worth[at].sum(), terms, math.inf)
        self._shares[number].SetCoefficient(variable, 1.0)
        self._made[number][tuple(at)] = None
        self._patterns.append((tuple(at), variable))
        return True
