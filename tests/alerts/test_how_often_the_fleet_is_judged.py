"""Each tick looks at the fleet, unless the last look was so long that another would take more than its share of a core."""

from __future__ import annotations

import asyncio

import pytest

from models_app.alerts.evaluator import EVALUATE_SECONDS, MOST_SHARE, Evaluator


class Timed(Evaluator):
    """An evaluator whose looks take as long as is said, and see nothing."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.looks = seconds, 0

    def _timed(self) -> float:
        self.looks += 1
        return self.seconds


@pytest.mark.parametrize(("share", "looks"), [(0.8, 3), (1000, 1)], ids=["a thousand hosts", "a huge fleet"])
def test_a_look_rests_until_it_has_taken_no_more_than_its_share(share: float, looks: int) -> None:
    evaluator = Timed(share * MOST_SHARE * EVALUATE_SECONDS)

    async def ticks() -> None:
        for _ in range(3):
            await evaluator.tick()

    asyncio.run(ticks())
    assert evaluator.looks == looks
