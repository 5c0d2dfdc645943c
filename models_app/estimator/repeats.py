"""Which layers of a long model stand for others, so that only those are written down.

The graph of a micro-batch repeats as the layers do. What a layer does to the memory depends on its kind, on the kind of the
layer before it, and on the state in which it meets the memory. The first layer of a kind makes what all of them share, and
the last one gives it back; both are always written down.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Repeats:
    """For every layer the one that stands for it: itself where it is written down."""

    stands_for: tuple[int, ...]
    witnesses: Mapping[int, int]
    """For a layer that stands for others, the last one of its kind, if it is the first one; otherwise itself."""

    @property
    def written(self) -> list[int]:
        """The layers that are written down."""
        return [index for index, other in enumerate(self.stands_for) if index == other]


def none_repeated(count: int) -> Repeats:
    """Every layer for itself."""
    return Repeats(tuple(range(count)), {})


def find_repeats(kinds: Sequence[Hashable], looks_ahead: Sequence[bool]) -> Repeats:
    """Leave out every layer for which another one can stand: of its kind, behind a layer of the same kind.

    Where a layer ``looks_ahead``, the kind of the layer after it counts too.
    """
    return _Finder(kinds, looks_ahead).found()


class _Finder:
    def __init__(self, kinds: Sequence[Hashable], looks_ahead: Sequence[bool]) -> None:
        self._kinds = kinds
        self._final = {kind: index for index, kind in enumerate(kinds)}
        self._first = {kind: index for index, kind in reversed(list(enumerate(kinds)))}
        self._ends = {*self._first.values(), *self._final.values()}
        self._following = [kind if ahead else None for kind, ahead in zip([*kinds[1:], None], looks_ahead, strict=False)]
        self._places = list(zip([None, *kinds], kinds, self._following, strict=False))

    def found(self) -> Repeats:
        """Who stands for whom."""
        examples = self._examples()
        written = self._connected(self._ends.union(examples.values()))
        stands_for = tuple(index if index in written else examples[place] for index, place in enumerate(self._places))
        return Repeats(stands_for, {index: self._witness(index) for index in set(stands_for)})

    def _examples(self) -> dict[Hashable, int]:
        """A layer for each place, the first or last of a kind if possible; not the last of all, which differs."""
        before_last = len(self._places) - 1
        examples: dict[Hashable, int] = {place: index for index, place in enumerate(self._places[:before_last])}
        return examples | {self._places[index]: index for index in self._ends if index < before_last}

    def _witness(self, index: int) -> int:
        kind = self._kinds[index]
        return self._final[kind] if self._first[kind] == index else index

    def _connected(self, needed: set[int]) -> set[int]:
        """The needed layers, and as few others as let each have the neighbours that it has in the model."""
        written = {0} if needed else set()
        current = 0
        for target in sorted(needed):
            while current != target:
                current = next(index for index in range(target, current, -1) if self._may_follow(index, current))
                written.add(current)
        return written

    def _may_follow(self, index: int, current: int) -> bool:
        """Whether one layer may be written behind another one as if none were between them.

        What the first layer of a kind makes for others would seem to be made for its neighbour alone.
        """
        if index == current + 1:
            return True
        if current == self._first[self._kinds[current]] and index in self._ends:
            return False
        return self._kinds[index - 1] == self._kinds[current] and self._following[current] in (None, self._kinds[index])
