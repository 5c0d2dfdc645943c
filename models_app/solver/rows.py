"""A matrix of which little is not zero: what each of many things counts in which constraint.

Its product with prices takes one core and always adds in the same order. That of a dense matrix goes to BLAS, which takes
all cores, waits for them, and may round differently each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from models_app.solver.patterns import Floats


class Rows:
    """A row for each thing, a column for each constraint."""

    def __init__(self, dense: Floats) -> None:
        self._dense = dense
        at, of = np.nonzero(dense)
        self._at: NDArray[np.intp] = at
        self._of: NDArray[np.intp] = of
        self._values = dense[at, of]

    def __len__(self) -> int:
        return len(self._dense)

    def __matmul__(self, prices: Floats) -> Floats:
        """What each thing costs at these prices."""
        costs = np.bincount(self._at, self._values * prices[self._of], minlength=len(self._dense))
        return np.asarray(costs, float)

    def __getitem__(self, at: int) -> Floats:
        """What one counts in each constraint."""
        return np.asarray(self._dense[at])

    def __iter__(self) -> Iterator[Floats]:
        return iter(self._dense)

    def total(self, at: Sequence[int]) -> Floats:
        """What some of them count in each constraint together."""
        return np.asarray(self._dense[at].sum(axis=0))

    def beside(self, columns: Floats) -> Rows:
        """The same with further constraints."""
        return Rows(np.column_stack((self._dense, columns)))
