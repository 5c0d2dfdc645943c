"""Parts of all placements, told apart by how many instances of a demand are somewhere (branch and price).

A part is cut in two at a count that its linear programme leaves between two whole numbers: placements with no more than the
lower one, and with at least the upper one. Every placement of the part is in one of both (Barnhart and others, 1998).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from models_app.solver.counts import ANYWHERE, EVER_SO_MANY, CountAt, Counts, Kind
from models_app.solver.patterns import Floats


@dataclass(frozen=True, slots=True)
class Part:
    """The placements with such ``counts``: what bounds them, and where to cut.

    ``priced`` is what the prices ``duals`` say, from which losses count; a search may have lowered the ``bound`` since.
    ``fractional`` is a count between two whole numbers, and the lower of them; ``None`` if there is none. ``few_lose`` is
    what patterns lose at most, about, of which there are few.
    """

    bound: float
    priced: float
    duals: Floats
    counts: Counts
    fractional: tuple[CountAt, int] | None
    searched: int = 0
    bounded: bool = True
    few_lose: float = math.inf

    def below(self, bound: float) -> Part:
        """What is left after a search that found or ruled out what is above a bound."""
        return replace(self, bound=min(self.bound, bound), searched=self.searched + 1)

    def halves(self, few_lose: float = math.inf) -> tuple[Part, Part]:
        """What is below and above the cut, not yet with bounds of their own."""
        at, below = self.fractional or ((Kind.SERVED, "", ANYWHERE), 0)
        fewest, most = self.counts.get(at, (0, EVER_SO_MANY))
        lower = {**self.counts, at: (fewest, below)}
        upper = {**self.counts, at: (below + 1, most)}
        return self._with(lower, few_lose), self._with(upper, few_lose)

    def _with(self, counts: Counts, few_lose: float) -> Part:
        return replace(self, counts=counts, fractional=None, searched=0, bounded=False, few_lose=few_lose)
