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


def find_repeats(kinds: Sequence[Hashable]) -> Repeats:
    """Leave out every layer for which another one can stand: of its kind, behind a layer of the same kind."""
    first: dict[Hashable, int] = {}
    final: dict[Hashable, int] = {}
    for index, kind in enumerate(kinds):
        first.setdefault(kind, index)
        final[kind] = index
    pairs = list(zip([None, *kinds], kinds, [*kinds[1:], None], strict=False))
    examples = _examples(pairs, {*first.values(), *final.values()})
    written = _connected(kinds, {*first.values(), *final.values(), *examples.values()})
    stands_for = tuple(index if index in written else examples[pair] for index, pair in enumerate(pairs))
    return Repeats(
        stands_for,
        {index: final[kinds[index]] if first[kinds[index]] == index else index for index in set(stands_for)},
    )


def _examples(pairs: Sequence[Hashable], needed: set[int]) -> dict[Hashable, int]:
    """A layer for each pair of kinds, one of the needed ones if possible; not the last layer, which differs."""
    before_last = len(pairs) - 1
    examples = {pair: index for index, pair in enumerate(pairs[:before_last])}
    return examples | {pairs[index]: index for index in sorted(needed) if index < before_last}


def _connected(kinds: Sequence[Hashable], needed: set[int]) -> set[int]:
    """The needed layers, and as few others as let each follow a layer of the kind that it follows in the model."""
    written: set[int] = set()
    current = -1
    for target in sorted(needed):
        while current >= 0 and (kinds[target - 1] != kinds[current] or kinds[current+1] != kinds[target]):
            current = next(index for index in range(target - 1, current, -1) if kinds[index - 1] == kinds[current] and kinds[current+1]==kinds[index])
            written.add(current)
        written.add(target)
        current = target
    return written
