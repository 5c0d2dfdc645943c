"""Strategies and keep-alive times follow the published tables, with a reason each."""

import pytest

from models_app.estimator.strategy import (
    Strategy,
    advise_keep_alive,
    advise_strategy,
)

GIB = 1024**3


@pytest.mark.parametrize(
    ("vram_gib", "needed_gib", "latency", "expected"),
    [
        (24, [5, 6], 60, Strategy.CONCURRENT),
        (8, [5, 6], 60, Strategy.HOT_SWAP),
        (16, [9, 9, 9], 60, Strategy.HOT_SWAP),
        (24, [9, 9, 9], 60, Strategy.HYBRID),
        (24, [9] * 6, 60, Strategy.CONTAINERS),
        (48, [20, 20, 20], 60, Strategy.HYBRID),
        (24, [9, 9, 9], 1, Strategy.HYBRID),
        (24, [40, 5], 60, Strategy.HOT_SWAP),
    ],
)
def test_a_strategy_follows_from_vram_number_and_patience(
    vram_gib: int, needed_gib: list[int], latency: float, expected: Strategy
) -> None:
    advice = advise_strategy(vram_gib * GIB, [need * GIB for need in needed_gib], latency)
    assert advice.strategy is expected
    assert advice.reason


@pytest.mark.parametrize(
    ("requests_per_hour", "seconds"), [(0, 0), (1, 300), (4, 1800), (6, 1200), (12, 600), (60, 300), (1000, 300)]
)
def test_an_idle_model_stays_for_twice_the_usual_gap_within_bounds(requests_per_hour: float, seconds: int) -> None:
    assert advise_keep_alive(requests_per_hour).seconds == seconds
