"""Columns of numbers over time, and their compact form in a row of the database.

The packed form is zlib over a line of JSON (``[rows, [column, …]]``) and, for the times and then each column, ``rows``
little-endian doubles: whole numbers of bytes are exact up to 2**53. Times are packed as seconds after the chunk's start.
"""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

UNKNOWN = -1.0
"""Where a figure is missing: none of those that are kept is ever negative."""
LEVEL = 3
"""Of zlib: beyond it, time grows several times faster than what is saved."""
MOST_BYTES = 64 * 1024**2


class DamagedChunk(ValueError):
    """The bytes are not what ``pack`` wrote."""


def numbers(values: Iterable[float] = ()) -> array[float]:
    """An array of doubles."""
    return array("d", values)


@dataclass(slots=True)
class Table:
    """Rows in the order of time. ``times`` are seconds since the epoch; every column has one number for each of them."""

    times: array[float] = field(default_factory=numbers)
    columns: dict[str, array[float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.times)

    def append(self, time: float, row: Mapping[str, float]) -> None:
        """Add a row at the end; a column that it lacks gets what ``missing`` says."""
        if row.keys() == self.columns.keys():
            for name, value in row.items():
                self.columns[name].append(value)
        else:
            self._widen(row)
            for name, column in self.columns.items():
                column.append(row.get(name, missing(name)))
        self.times.append(time)

    def extend(self, other: Table) -> None:
        """Add all rows of another table at the end."""
        theirs = other.columns
        self._widen(theirs)
        for name, column in self.columns.items():
            column.extend(theirs[name] if name in theirs else _fill(name, len(other.times)))
        self.times.extend(other.times)

    def _widen(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.columns:
                self.columns[name] = _fill(name, len(self.times))

    def between(self, since: float, until: float) -> Table:
        """The rows from ``since`` to before ``until``."""
        first, last = bisect_left(self.times, since), bisect_left(self.times, until)
        if first == 0 and last == len(self.times):
            return self
        return Table(self.times[first:last], {name: column[first:last] for name, column in self.columns.items()})

    def chosen(self, wanted: Iterable[int]) -> Table:
        """These rows, by number, in that order."""
        rows = list(wanted)
        columns = {name: numbers(column[row] for row in rows) for name, column in self.columns.items()}
        return Table(numbers(self.times[row] for row in rows), columns)

    def ordered(self) -> Table:
        """The same rows in the order of time."""
        if all(map(float.__le__, self.times, self.times[1:])):
            return self
        return self.chosen(sorted(range(len(self.times)), key=self.times.__getitem__))

    def cells(self, step_seconds: int) -> Iterator[tuple[float, int, int]]:
        """The rows that fall into each step of time: its start, its first row, and the row after its last."""
        first, rows = 0, len(self.times)
        while first < rows:
            start = self.times[first] // step_seconds * step_seconds
            last = bisect_left(self.times, start + step_seconds, first)
            yield start, first, last
            first = last


def missing(name: str) -> float:
    """What a row says in a column that it lacks: a share is nothing, any other figure is unknown."""
    return 0.0 if ":" in name else UNKNOWN


def joined(tables: Iterable[Table]) -> Table:
    """One table after the other."""
    whole = Table()
    for table in tables:
        whole.extend(table)
    return whole


def pack(table: Table, start: float) -> bytes:
    """The table as bytes; ``start`` is when its chunk begins."""
    head = json.dumps([len(table), list(table.columns)], separators=(",", ":")).encode()
    offsets = numbers(round(time - start, 3) for time in table.times)
    return zlib.compress(b"".join([head, b"\n", *map(_to_bytes, (offsets, *table.columns.values()))]), LEVEL)


def unpack(packed: bytes, start: float, wanted: Collection[str] | None = None) -> Table:
    """The table that ``pack`` wrote, or only the ``wanted`` of its columns. Raises DamagedChunk."""
    try:
        head, _, body = _inflate(packed).partition(b"\n")
        rows, names = json.loads(head)
        whole = _from_bytes(body)
        places = {name: slice(at * rows, (at + 1) * rows) for at, name in enumerate(names, 1)}
    except (ValueError, TypeError, zlib.error) as error:
        raise DamagedChunk(str(error)) from None
    if len(whole) != rows * (len(names) + 1):
        raise DamagedChunk("a column is cut short")
    columns = {name: whole[place] for name, place in places.items() if wanted is None or name in wanted}
    return Table(numbers(start + offset for offset in whole[:rows]), columns)


def _inflate(packed: bytes) -> bytes:
    inflater = zlib.decompressobj()
    body = inflater.decompress(bytes(packed), MOST_BYTES)
    if not inflater.eof:
        raise DamagedChunk("cut short, or larger than any chunk is")
    return body


def _to_bytes(values: array[float]) -> bytes:
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values.tobytes()


def _from_bytes(data: bytes) -> array[float]:
    values = numbers()
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _fill(name: str, rows: int) -> array[float]:
    return numbers([missing(name)]) * rows
