"""What fits on a GPU together: for given prices of seats the dearest pattern, by dynamic programming over its bytes.

Shares are rounded down to ``UNITS`` parts of the GPU. So every real pattern is among those that are looked at, and what is
found is never less than the truth: a bound stays a bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNITS = 2048
NOTHING = 1e-9
"""Below it, a price is rounding noise."""
NOISE = 1e-6
"""The same for a bound."""

Floats = NDArray[np.float64]
Prices = Sequence[float] | Floats
"""By the place of a seat. A list is faster to look up than an array."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A share of a choice on one of a class of GPUs: its place in the list of prices, its size and its demand."""

    at: int
    units: int
    demand: str
    bytes: int


@dataclass(frozen=True, slots=True)
class GpuClass:
    """GPUs that are alike: as large, and open to the same seats.

    Of each group a GPU takes one seat at most: the choices of a demand, and of demands that are kept apart. ``swapped``
    seats share the room of the largest. Seats are listed from the smallest. ``most_models`` bounds the resident seats and
    the swap space together.
    """

    devices: tuple[str, ...]
    groups: tuple[tuple[Seat, ...], ...]
    swapped: tuple[Seat, ...]
    room_bytes: int
    most_models: int | None = None

    @property
    def layers(self) -> int:
        """Of the table: one for every number of models, or a single one where their number is not bounded."""
        return 1 if self.most_models is None else self.most_models + 1


@dataclass(frozen=True, slots=True)
class Pattern:
    """What is taken together, and its price."""

    value: float
    seats: tuple[Seat, ...]
    swaps: bool


def dearest(gpus: GpuClass, prices: Prices, swap_price: float) -> Pattern:
    """The pattern of the highest price; ``swap_price`` is what having a swap space costs."""
    table = np.zeros((gpus.layers, UNITS + 1))
    steps: list[tuple[Floats, list[Seat]]] = []
    for group in gpus.groups:
        if worthy := _worthy(group, prices):
            steps.append((table, worthy))
            table = with_group(table, worthy, prices)
    best, room, swapped = float(table[-1, UNITS]), UNITS, list[Seat]()
    layer = gpus.layers - 1
    below = layer if gpus.most_models is None else layer - 1
    for units, value, seats in _swap_spaces(gpus.swapped, prices):
        if below >= 0 and (total := value - swap_price + float(table[below, UNITS - units])) > best + NOTHING:
            best, room, swapped = total, UNITS - units, seats
    layer = below if swapped else layer
    return Pattern(best, (*swapped, *_traced(steps, prices, layer, room)), bool(swapped))


def losses(gpus: GpuClass, prices: Floats, swap_price: float) -> Iterator[tuple[Seat, float]]:
    """For every seat, by how much the dearest pattern that has it is below the dearest of all: 0 or negative."""
    first = np.zeros((gpus.layers, UNITS + 1))
    for units, value, _ in _swap_spaces(gpus.swapped, prices):
        layer = 0 if gpus.most_models is None else 1
        first[layer:, units:] = np.maximum(first[layer:, units:], value - swap_price)
    before, after = [first], [np.zeros_like(first)]
    for group in gpus.groups:
        before.append(with_group(before[-1], group, prices))
    for group in reversed(gpus.groups):
        after.append(with_group(after[-1], group, prices))
    after.reverse()
    best = float(before[-1][-1, UNITS])
    for at, group in enumerate(gpus.groups):
        for seat in group:
            yield seat, prices[seat.at] + _joined(before[at], after[at + 1], UNITS - seat.units) - best
    below = gpus.layers - (1 if gpus.most_models is None else 2)
    for seat in gpus.swapped:
        others = [other for other in gpus.swapped if other.demand != seat.demand]
        spaces = [(seat.units, 0.0), *((max(units, seat.units), value) for units, value, _ in _swap_spaces(others, prices))]
        beside = max(value + float(after[0][below, UNITS - units]) for units, value in spaces)
        yield seat, prices[seat.at] + beside - swap_price - best


def _worthy(group: Sequence[Seat], prices: Prices) -> list[Seat]:
    """Those that pay, without any that is larger than a dearer one."""
    kept: list[Seat] = []
    most = NOTHING
    for seat in group:
        if (price := prices[seat.at]) > most:
            kept.append(seat)
            most = price
    return kept


def with_group(table: Floats, group: Sequence[Seat], prices: Prices) -> Floats:
    """The table once one seat of a group may be taken. A layer more is a model more."""
    grown = table.copy()
    for seat in group:
        price, units = prices[seat.at], seat.units
        if price <= NOTHING:
            continue
        if len(table) == 1:
            np.maximum(grown[:, units:], table[:, : UNITS + 1 - units] + price, out=grown[:, units:])
        else:
            np.maximum(grown[1:, units:], table[:-1, : UNITS + 1 - units] + price, out=grown[1:, units:])
    return grown


def _swap_spaces(swapped: Sequence[Seat], prices: Prices) -> Iterator[tuple[int, float, list[Seat]]]:
    """Swap spaces of rising size: the units, the price of all that pays and swaps there, and who that is."""
    taken: dict[str, Seat] = {}
    value = 0.0
    for seat in swapped:
        more = float(prices[seat.at]) - (float(prices[taken[seat.demand].at]) if seat.demand in taken else 0.0)
        if more > NOTHING:
            value += more
            taken[seat.demand] = seat
            yield seat.units, value, list(taken.values())


def _joined(before: Floats, after: Floats, room: int) -> float:
    """The dearest of both tables together within the room, and within the models that are left beside one more."""
    if len(before) == 1:
        return float((before[0, : room + 1] + after[0, room::-1]).max())
    left = len(before) - 2
    return max(float((before[at, : room + 1] + after[left - at, room::-1]).max()) for at in range(left + 1))


def _traced(steps: list[tuple[Floats, list[Seat]]], prices: Prices, layer: int, room: int) -> Iterator[Seat]:
    """The resident seats of the dearest pattern, from the last group back to the first."""
    for table, group in reversed(steps):
        layered = len(table) > 1
        best, picked = float(table[layer, room]), None
        for seat in group:
            if seat.units <= room and not (layered and layer == 0):
                value = float(table[layer - layered, room - seat.units] + prices[seat.at])
                if value > best + NOTHING:
                    best, picked = value, seat
        if picked is not None:
            room -= picked.units
            layer -= layered
            yield picked
