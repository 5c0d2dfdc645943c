"""Which layers of a long model stand for others: of a pattern that repeats, the first and the last copy are written down.

The graph of a micro-batch repeats as the layers do. What a layer does to the memory depends on its kind, on its
neighbours' kinds, and on the state in which it meets the memory; so two copies are enough to know what all the others do.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

_LONGEST_PATTERN = 8
"""Layers of the longest pattern in use."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """For every layer the one that stands for it: itself where it is written down."""

    stands_for: tuple[int, ...]
    witnesses: Mapping[int, int]
    """For a layer of a first copy that stands for others, the same layer of the last copy; for others, themselves."""

    @property
    def written(self) -> list[int]:
        """The layers that are written down."""
        return [index for index, other in enumerate(self.stands_for) if index == other]


def none_repeated(count: int) -> Repeats:
    """Every layer for itself."""
    return Repeats(tuple(range(count)), {})


def find_repeats(kinds: Sequence[Hashable]) -> Repeats:
    """Leave out what repeats: first single layers, then patterns of what remains."""
    finder = _Finder(kinds)
    for period in range(1, _LONGEST_PATTERN + 1):
        finder.leave_out(period)
    return finder.found()


class _Finder:
    def __init__(self, kinds: Sequence[Hashable]) -> None:
        self._kinds = kinds
        self._kept = list(range(len(kinds)))
        self._stands_for = list(range(len(kinds)))
        self._witnesses: dict[int, int] = {}

    def leave_out(self, period: int) -> None:
        """Leave out the middle copies of every pattern of this length."""
        start = 0
        while start + period < len(self._kept):
            copies = self._copies(start, period)
            start += self._without_middle(start, period, copies) if copies > 1 else 1

    def found(self) -> Repeats:
        """The result, with chains of representatives followed to their ends."""
        ends = self._stands_for
        for index in range(len(ends)):
            while ends[ends[index]] != ends[index]:
                ends[index] = ends[ends[index]]
        return Repeats(tuple(ends), {index: self._witnesses.get(index, index) for index in set(ends)})

    def _copies(self, start: int, period: int) -> int:
        """How often the pattern at ``start`` comes in a row."""
        kept, kinds, end = self._kept, self._kinds, start + period
        while end < len(kept) and kinds[kept[end]] == kinds[kept[end - period]]:
            end += 1
        return (end - start) // period

    def _without_middle(self, start: int, period: int, copies: int) -> int:
        """Drop the middle copies, one of which stays where a pattern is a single layer; the layers that remain."""
        first = min(copies, 2) if period == 1 else 1
        pattern = self._kept[start : start + period * copies]
        last = pattern[-period:]
        for position, index in enumerate(pattern[first * period : -period]):
            phase = position % period
            # the last layer of a copy has its neighbours in the first copy, every other one in the last copy
            self._stands_for[index] = pattern[first * period - 1] if phase == period - 1 else last[phase]
        if period > 1:
            self._witnesses[pattern[period - 1]] = last[-1]
        remaining = [*pattern[: first * period], *(last if copies > first else ())]
        self._kept[start : start + len(pattern)] = remaining
        return len(remaining)
