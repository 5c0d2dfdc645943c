"""All patterns of a class of GPUs that a placement of at least a given worth may use.

The prices of the relaxation tell by how much a pattern falls short of the dearest one. What falls short by more than lies
between the bound and the worth that is looked for is in no such placement (enumeration by reduced cost: Baldacci,
Christofides and Mingozzi, 2008). Often a few hundred patterns are left, and to choose among them is a small programme.

A pattern is a capability: what it has a seat for need not be seated. So only those matter to which nothing can be added.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_app.solver.patterns import NOTHING, UNITS, Floats, GpuClass, Seat, with_group

NONE = -1
Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Patterns:
    """A row a pattern: its seats by their place in the list of prices (or ``NONE``), its swap space, and what it loses."""

    seats: Whole
    swap_bytes: Whole
    losses: Floats

    def __len__(self) -> int:
        return len(self.losses)

    def of(self, kept: NDArray[np.bool_]) -> Patterns:
        """Some of them."""
        return Patterns(self.seats[kept], self.swap_bytes[kept], self.losses[kept])

    def and_also(self, others: list[tuple[list[int], int]]) -> Patterns:
        """These, and patterns given by their resident seats and their swap space."""
        seats = np.full((len(others), self.seats.shape[1]), NONE)
        for row, (resident, _) in enumerate(others):
            seats[row, : len(resident)] = resident
        swap_bytes = np.array([size for _, size in others], int)
        losses = np.full(len(others), math.inf)
        return Patterns(
            np.concatenate((self.seats, seats)),
            np.concatenate((self.swap_bytes, swap_bytes)),
            np.concatenate((self.losses, losses)),
        )


@dataclass(slots=True)
class _Partial:
    """Patterns decided for some of the groups. ``missed`` are the bytes of the least that could be added but was not."""

    used: Whole
    bytes: Whole
    value: Floats
    models: Whole
    missed: Whole
    swap_bytes: Whole
    seats: Whole

    def of(self, kept: NDArray[Any]) -> _Partial:
        return _Partial(*(column[kept] for column in self._columns()))

    def with_seat(self, at: int, group: int, seat: Seat, price: float) -> _Partial:
        seats = self.seats.copy()
        seats[:, group] = at
        grown = (self.used + seat.units, self.bytes + seat.bytes, self.value + price, self.models + 1)
        return _Partial(*grown, self.missed, self.swap_bytes, seats)

    def and_also(self, others: list[_Partial]) -> _Partial:
        listed = [self._columns(), *(other._columns() for other in others)]
        return _Partial(*(np.concatenate(column) for column in zip(*listed, strict=True)))

    def _columns(self) -> tuple[NDArray[Any], ...]:
        return (self.used, self.bytes, self.value, self.models, self.missed, self.swap_bytes, self.seats)


def best_patterns(gpus: GpuClass, prices: Floats, swap_price: float, allowance: float, most: int) -> tuple[Patterns, float]:
    """The patterns that lose no more than ``allowance``, ``most`` at most, and the loss below which none is missing.

    Group by group, the largest first; what cannot lose little enough even with the dearest of the later groups is dropped,
    and so is what comes after the best ``most``: each of these can be made whole, and loses then no more than it does now.
    """
    groups = sorted(gpus.groups, key=lambda group: -min(seat.units for seat in group))
    tables = _tables(gpus, groups, prices)
    largest = np.cumsum([0, *(max(seat.bytes for seat in group) for group in reversed(groups))])[::-1]
    found = _swap_spaces(gpus, prices, swap_price, len(groups))
    dearest = float(_at_best(found, gpus, tables[0]).max())
    complete = math.inf
    for at, group in enumerate((*groups, ())):
        losses = dearest - _at_best(found, gpus, tables[at])
        kept = losses <= allowance + NOTHING
        if gpus.most_models is None:
            kept &= found.bytes + largest[at] + found.missed > gpus.room_bytes
        found, losses = found.of(kept), losses[kept]
        if len(losses) > most:
            first = np.argpartition(losses, most)
            allowance = complete = float(losses[first[most]])
            found = found.of(first[:most])
        if group:
            found = _decided(found, at, group, gpus, prices)
    found = found.of(found.bytes <= gpus.room_bytes)
    return Patterns(found.seats, found.swap_bytes, dearest - found.value), complete


def _at_best(found: _Partial, gpus: GpuClass, table: Floats) -> Floats:
    """The value of each partial pattern with the dearest of the groups that are not decided."""
    if gpus.most_models is None:
        return np.asarray(found.value + table[0, UNITS - found.used])
    return np.asarray(found.value + table[gpus.most_models - found.models, UNITS - found.used])


def _tables(gpus: GpuClass, groups: list[tuple[Seat, ...]], prices: Floats) -> list[Floats]:
    """By group, the dearest that it and all later ones give, for every number of models and of units left."""
    tables = [np.zeros((gpus.layers, UNITS + 1))]
    for group in reversed(groups):
        tables.append(with_group(tables[-1], group, prices))
    return tables[::-1]


def _decided(found: _Partial, at: int, group: tuple[Seat, ...], gpus: GpuClass, prices: Floats) -> _Partial:
    """Every partial pattern without the group, and with each of its seats for which there is room."""
    taken = []
    for seat in group:
        fits = found.used + seat.units <= UNITS
        if gpus.most_models is not None:
            fits &= found.models < gpus.most_models
        taken.append(found.of(fits).with_seat(seat.at, at, seat, float(prices[seat.at])))
    harmless = [seat.bytes for seat in group if prices[seat.at] >= -NOTHING]
    if harmless:
        found.missed = np.minimum(found.missed, min(harmless))
    return found.and_also(taken)


def _swap_spaces(gpus: GpuClass, prices: Floats, swap_price: float, groups: int) -> _Partial:
    """No swap space, and one of every size, with the price of all that can swap there."""
    levels = [(0, 0, 0.0)]
    dearest: dict[str, float] = {}
    for seat in gpus.swapped:
        dearest[seat.demand] = max(dearest.get(seat.demand, 0.0), float(prices[seat.at]))
        level = (seat.units, seat.bytes, sum(dearest.values()) - swap_price)
        levels = levels[: -1 if len(levels) > 1 and levels[-1][1] == seat.bytes else None]
        levels.append(level)
    used, held, values = (np.array(column) for column in zip(*levels, strict=True))
    missed = []
    for _, size, value in levels:
        larger = held[(held > size) & (values >= value - NOTHING)]
        missed.append(int(larger.min()) - size if len(larger) else gpus.room_bytes + 1)
    models = np.minimum(1, np.arange(len(levels)))
    return _Partial(used, held, values, models, np.array(missed), held, np.full((len(levels), groups), NONE))
