"""The choice among given patterns as an integer programme for CP-SAT: how many GPUs of a class are packed by which pattern.

Identical GPUs are counted, not told apart, and a pattern has whole seats: so the programme is small, and its linear
relaxation as strong as that of ``relaxation.py``. It has the same constraints as that one, with whole instances. Bytes of
host RAM are rounded down and those of swapped models not counted: that is left to the reading (``unpacking.py``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model

from models_app.solver.enumeration import NONE, Patterns
from models_app.solver.patterns import Floats, GpuClass, Seat
from models_app.solver.programme import Programme
from models_app.solver.seating import Seating

MILLIONTHS = 10**6
"""A constraint in fractions is counted in these, rounded down: what holds, holds still."""


@dataclass(slots=True)
class Packed:
    """The variables of a class: how many GPUs take a pattern, and how many instances sit in a seat."""

    gpus: GpuClass
    patterns: Patterns
    taken: list[cp_model.IntVar]
    sitting: dict[int, cp_model.IntVar]


class PackingModel:
    """Patterns of each class of a programme. ``worth`` is the goal."""

    def __init__(
        self,
        programme: Programme,
        patterns: Sequence[Patterns],
        limits: Floats | None = None,
        begin: Seating | None = None,
    ) -> None:
        self.programme = programme
        self._limits = programme.limits if limits is None else limits
        self.cp = cp_model.CpModel()
        self._rows: dict[int, list[tuple[float, cp_model.IntVar]]] = defaultdict(list)
        self._worth: list[tuple[float, cp_model.IntVar]] = []
        self.columns = [self.cp.new_int_var(0, int(column.most), "") for column in programme.columns]
        for variable, column, terms in zip(self.columns, programme.columns, programme.column_rows, strict=True):
            self._count(variable, column.worth, terms)
        if begin is not None:
            patterns = [
                listed.and_also([_pattern(programme, seats) for seats in gpus])
                for listed, gpus in zip(patterns, begin.gpus, strict=True)
            ]
        self.packed = [self._class(gpus, listed) for gpus, listed in zip(programme.classes, patterns, strict=True)]
        self._swap_spaces()
        self._constrain()
        self.worth = _sum([(round(value), variable) for value, variable in self._worth])

    def _count(self, variable: cp_model.IntVar, worth: float, terms: Floats) -> None:
        self._worth.append((worth, variable))
        for at in np.flatnonzero(terms):
            self._rows[int(at)].append((float(terms[at]), variable))

    def _class(self, gpus: GpuClass, patterns: Patterns) -> Packed:
        most = len(gpus.devices)
        taken = [self.cp.new_int_var(0, most, "") for _ in range(len(patterns))]
        self.cp.add(cp_model.LinearExpr.sum(taken) <= most)
        holding: dict[int, list[cp_model.IntVar]] = defaultdict(list)
        rows, groups = np.nonzero(patterns.seats != NONE)
        for row, at in zip(rows.tolist(), patterns.seats[rows, groups].tolist(), strict=True):
            holding[at].append(taken[row])
        sitting = {at: self._seat(at, most) for at in holding}
        for at, variable in sitting.items():
            self.cp.add(variable <= cp_model.LinearExpr.sum(holding[at]))
        return Packed(gpus, patterns, taken, sitting | self._swapped(gpus, patterns, taken))

    def _seat(self, at: int, most: int) -> cp_model.IntVar:
        variable = self.cp.new_int_var(0, most, "")
        self._count(variable, float(self.programme.seat_worth[at]), self.programme.seat_rows[at])
        return variable

    def _swapped(self, gpus: GpuClass, patterns: Patterns, taken: list[cp_model.IntVar]) -> dict[int, cp_model.IntVar]:
        """Of a demand, what swaps in a space of some size or more: no more instances than there are such spaces."""
        largest = int(patterns.swap_bytes.max(initial=0))
        sitting: dict[int, cp_model.IntVar] = {}
        as_large: dict[str, list[cp_model.IntVar]] = defaultdict(list)
        for seat in reversed(gpus.swapped):
            if seat.bytes <= largest:
                sitting[seat.at] = self._seat(seat.at, len(gpus.devices))
                as_large[seat.demand].append(sitting[seat.at])
                spaces = [taken[row] for row in np.flatnonzero(patterns.swap_bytes >= seat.bytes)]
                self.cp.add(cp_model.LinearExpr.sum(as_large[seat.demand]) <= cp_model.LinearExpr.sum(spaces))
        return sitting

    def _swap_spaces(self) -> None:
        """The swap spaces of an endpoint count as one model."""
        by_row: dict[int, list[cp_model.IntVar]] = defaultdict(list)
        for packed in self.packed:
            for seat in packed.gpus.swapped:
                row = self.programme.models_row(seat)
                if row is not None and seat.at in packed.sitting:
                    by_row[row].append(packed.sitting[seat.at])
        for row, swapping in by_row.items():
            any_of = self.cp.new_bool_var("")
            for variable in swapping:
                self.cp.add(variable == 0).only_enforce_if(any_of.negated())
            self._rows[row].append((1.0, any_of))

    def _constrain(self) -> None:
        for at, terms in self._rows.items():
            limit = float(self._limits[at])
            scale = 1 if all(value.is_integer() for value, _ in terms) else MILLIONTHS
            whole = [(int(np.floor(value * scale + 1e-9)), variable) for value, variable in terms]
            self.cp.add(_sum(whole) <= int(limit) * scale)


def _pattern(programme: Programme, seats: tuple[Seat, ...]) -> tuple[list[int], int]:
    """The resident seats of a GPU, and its swap space."""
    resident = [seat.at for seat in seats if not programme.swaps([seat])]
    return resident, max((seat.bytes for seat in seats if programme.swaps([seat])), default=0)


def _sum(terms: Sequence[tuple[int, cp_model.IntVar]]) -> cp_model.LinearExprT:
    return cp_model.LinearExpr.weighted_sum([variable for _, variable in terms], [size for size, _ in terms])
