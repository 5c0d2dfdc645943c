"""A bound for residency and quality that knows what packs, and which choices can still reach a value.

Each GPU takes a mixture of whole patterns (``patterns.py``), so that the bound is far below that of mixing bytes. Patterns
are made as they are asked for (column generation; Dantzig and Wolfe, 1960): the prices of the linear programme say which
would help. Whatever the prices, they bound the goal (Lagrange), and tell how much is lost by taking a seat. A choice that
loses more than lies between the bound and what is looked for can be left out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from ortools.linear_solver import pywraplp

from models_app.solver.dominance import Choices
from models_app.solver.patterns import Floats, Pattern, dearest, losses
from models_app.solver.programme import Programme
from models_app.solver.result import Goal
from models_app.solver.types import Assignment, Problem

SMOOTHING = 0.5
"""How much of the best prices so far is mixed into the next, for fewer rounds (Wentges, 1997)."""
PRICE_OF_A_FLOOR = 60.0
"""What the programme pays to stay below an earlier goal by one, until it has the patterns to reach it."""
SECONDS_A_ROUND, SECONDS_A_SEAT, SECONDS_A_PATTERN = 1e-3, 6e-6, 5e-6
"""What the programme and its prices take, so that the work is bounded without a clock."""
NOISE = 1e-6
_PARAMETERS = "use_preprocessing: false use_dual_simplex: false use_scaling: false"


class Relaxation:
    """The programme of a goal. ``bound`` holds at any time; ``seconds`` is the work that was done for it."""

    def __init__(self, problem: Problem, choices: Choices, goal: Goal, floors: Mapping[Goal, int]) -> None:
        self.bound = math.inf
        self.seconds = 0.0
        self._names = list(choices)
        self._programme = Programme(problem, choices, goal, floors)
        self._known: set[tuple[int, tuple[int, ...]]] = set()
        self._duals: Floats = np.zeros(len(self._programme.limits))
        self._build()

    def _build(self) -> None:
        programme, infinity = self._programme, math.inf
        self._lp: Any = pywraplp.Solver.CreateSolver("GLOP")  # type: ignore[no-untyped-call]
        self._lp.SetSolverSpecificParametersAsString(_PARAMETERS)
        self._rows = [self._lp.Constraint(-infinity, float(limit)) for limit in programme.limits]
        self._shares = [self._lp.Constraint(-infinity, float(len(gpus.devices))) for gpus in programme.classes]
        self._objective = self._lp.Objective()
        self._objective.SetMaximization()
        for column, terms in zip(programme.columns, programme.column_rows, strict=True):
            self._column(column.worth, terms, column.most)
        for at, limit in enumerate(programme.limits):
            if limit < 0:
                self._column(-PRICE_OF_A_FLOOR, -np.eye(len(programme.limits))[at], infinity)

    def _column(self, worth: float, terms: Floats, most: float) -> Any:
        variable = self._lp.NumVar(0.0, most, "")
        self._objective.SetCoefficient(variable, float(worth))
        for at in np.flatnonzero(terms):
            self._rows[at].SetCoefficient(variable, float(terms[at]))
        return variable

    def start(self, assignments: tuple[Assignment, ...]) -> None:
        """Begins with the patterns of a placement."""
        programme = self._programme
        place = {
            (choice.demand.name, choice.option, choice.endpoint.id, choice.swapped): at
            for at, choice in enumerate(programme.choices)
        }
        for number, gpus in enumerate(programme.classes):
            seats = {programme.seat_choice[seat.at]: seat for group in (*gpus.groups, gpus.swapped) for seat in group}
            for device in gpus.devices:
                here = [
                    seats[at]
                    for it in assignments
                    if device in it.devices
                    and (at := place.get((it.demand, it.option, it.endpoint, it.swapped), -1)) in seats
                ]
                swaps = any(programme.choices[programme.seat_choice[seat.at]].swapped for seat in here)
                self._add(number, Pattern(0.0, tuple(here), swaps))

    def tighten(self, seconds: float, reached: int, ends: float = math.inf) -> None:
        """Adds patterns until the bound is the programme's or proves ``reached``, or time is up (``ends`` is monotonic)."""
        while self.seconds < seconds and self.bound >= reached + 1 - NOISE and time.monotonic() < ends:
            self.seconds += SECONDS_A_ROUND + SECONDS_A_PATTERN * len(self._known)
            if self._lp.Solve() != pywraplp.Solver.OPTIMAL:
                return
            duals = np.maximum(0.0, [row.dual_value() for row in self._rows])
            mixed = SMOOTHING * self._duals + (1 - SMOOTHING) * duals
            if not (np.isfinite(self.bound) and self._price(mixed)) and not self._price(duals):
                return

    def _price(self, duals: Floats) -> bool:
        """Bounds by these prices, and adds the dearest pattern of each class. Whether any was new."""
        programme = self._programme
        prices = programme.seat_worth - programme.seat_rows @ duals
        bound = float(duals @ programme.limits) + float(self._beside(duals).sum())
        patterns = []
        for gpus, swap_price in zip(programme.classes, programme.swap_rows @ duals, strict=True):
            self.seconds += SECONDS_A_SEAT * sum(len(group) for group in gpus.groups)
            patterns.append(dearest(gpus, prices, float(swap_price)))
            bound += len(gpus.devices) * patterns[-1].value
        if bound < self.bound:
            self.bound, self._duals = bound, duals
        return sum(self._add(number, pattern) for number, pattern in enumerate(patterns)) > 0

    def _beside(self, duals: Floats) -> Floats:
        """What the columns that are no pattern are worth at most."""
        columns = self._programme.columns
        each = np.array([column.worth for column in columns]) - self._programme.column_rows @ duals
        most = np.array([column.most for column in columns])
        return np.maximum(0.0, each) * most if columns else np.zeros(0)

    def _add(self, number: int, pattern: Pattern) -> bool:
        """A column for a pattern of a class, if it is a new one."""
        at = sorted(seat.at for seat in pattern.seats)
        if not at or (number, tuple(at)) in self._known:
            return False
        self._known.add((number, tuple(at)))
        programme = self._programme
        terms = programme.seat_rows[at].sum(axis=0) + (programme.swap_rows[number] if pattern.swaps else 0.0)
        variable = self._column(programme.seat_worth[at].sum(), terms, math.inf)
        self._shares[number].SetCoefficient(variable, 1.0)
        return True

    def left(self, least: int) -> Choices:
        """The choices, each with the devices, that a placement worth ``least`` may use. All others cannot be part of it."""
        programme = self._programme
        allowance = self.bound - least + NOISE
        loss, devices = self._losses(allowance)
        kept: Choices = dict.fromkeys(self._names, ())
        for at, choice in enumerate(programme.choices):
            open_to = tuple(name for name in choice.devices if name in devices[at])
            if loss[at] <= allowance and len(open_to) >= choice.size:
                kept[choice.demand.name] += (replace(choice, devices=open_to),)
        return kept

    def _losses(self, allowance: float) -> tuple[Floats, list[set[str]]]:
        """By choice, what an instance loses at least, and the devices on which one seat loses no more than is allowed."""
        programme = self._programme
        prices = programme.seat_worth - programme.seat_rows @ self._duals
        least = np.full(len(programme.choices), np.inf)
        devices: list[set[str]] = [set() for _ in programme.choices]
        for gpus, swap_price in zip(programme.classes, programme.swap_rows @ self._duals, strict=True):
            for seat, lost in losses(gpus, prices, float(swap_price)):
                at = programme.seat_choice[seat.at]
                least[at] = min(least[at], max(0.0, -lost))
                if -lost <= allowance:
                    devices[at].update(gpus.devices)
        loss = np.array([least[at] * choice.size if choice.size else 0.0 for at, choice in enumerate(programme.choices)])
        for column, terms in zip(programme.columns, programme.column_rows, strict=True):
            if column.choice is not None:
                loss[column.choice] += max(0.0, float(terms @ self._duals) - column.worth)
        return loss, devices
