"""One GPU's samples of one minute, as they come in: the cheapest to add to."""

from __future__ import annotations

import time
from array import array
from dataclasses import dataclass, field

from models_app.telemetry.history.series import FIGURES
from models_app.telemetry.history.tables import Table, joined, numbers

Columns = tuple[str, ...]
IDENTITY = ("boot", "sequence")
OWN = (*IDENTITY, *FIGURES)
"""The columns of every sample, before those of the shares."""


@dataclass(slots=True)
class Minute:
    """One GPU's samples of one minute in this process. ``written`` is its row's payload, where that holds just these.

    ``pieces`` are numbers row by row, a time and then one for each of their columns: the cheapest to add to.
    """

    pieces: list[tuple[Columns, array[float]]] = field(default_factory=list)
    latest: float = 0.0
    written: bytes = b""
    is_dirty: bool = False
    since: float = field(default_factory=time.monotonic)

    def add(self, at: float, columns: Columns, values: tuple[float, ...]) -> None:
        """Add a sample, unless it is here already. The columns begin with those that identify a sample."""
        if at <= self.latest and (at, *values[: len(IDENTITY)]) in identities(self.seconds):
            return
        if not self.pieces or self.pieces[-1][0] != columns:
            self.pieces.append((columns, numbers()))
        self.pieces[-1][1].extend((at, *values))
        self.latest = max(self.latest, at)
        self.is_dirty = True

    @property
    def seconds(self) -> Table:
        """The samples in the order in which they came."""
        return joined(map(_table, self.pieces))

    def copy(self) -> Minute:
        """As it is now."""
        return Minute([(columns, values[:]) for columns, values in self.pieces], written=self.written)


def _table(piece: tuple[Columns, array[float]]) -> Table:
    columns, values = piece
    width = len(columns) + 1
    return Table(values[::width], {name: values[place::width] for place, name in enumerate(columns, 1)})


def identities(seconds: Table) -> list[tuple[float, ...]]:
    """What tells each row of a table of seconds from every other."""
    if not len(seconds):
        return []
    return list(zip(seconds.times, *(seconds.columns[name] for name in IDENTITY), strict=True))
