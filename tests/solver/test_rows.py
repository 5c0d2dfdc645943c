"""A product of rows and prices is that of the matrix, also where constraints were added later."""

from __future__ import annotations

import numpy as np
import pytest

from models_app.solver.rows import Rows


@pytest.mark.parametrize(("things", "constraints"), [(0, 3), (4, 1), (30, 20)])
def test_a_product_is_that_of_the_matrix(things: int, constraints: int) -> None:
    rng = np.random.default_rng(things)
    dense = rng.integers(-2, 3, (things, constraints)) * (rng.random((things, constraints)) < 0.3).astype(float)
    more, prices = rng.random((things, 2)), rng.random(constraints + 2)
    assert Rows(dense) @ prices[:constraints] == pytest.approx(dense @ prices[:constraints])
    assert Rows(dense).beside(more) @ prices == pytest.approx(np.column_stack((dense, more)) @ prices)


def test_some_count_together_what_each_counts() -> None:
    rows = Rows(np.array([[1.0, 0.0], [0.5, 2.0], [0.0, 1.0]]))
    assert rows.total([0, 1]).tolist() == [1.5, 2.0]
    assert rows[2].tolist() == [0.0, 1.0]
    assert len(rows) == 3
