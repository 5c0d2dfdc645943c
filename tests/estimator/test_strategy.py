"""A strategy follows from what fits, and from the published table where that leaves a choice."""

from __future__ import annotations

import pytest

from models_app.estimator.strategy import Strategy, advise_strategy

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
        (24, [20, 20], 1, Strategy.HOT_SWAP),
        (24, [20, 20], 60, Strategy.HOT_SWAP),
        (24, [20, 20, 20], 60, Strategy.HOT_SWAP),
        (24, [40, 5], 60, Strategy.HOT_SWAP),
    ],
)
def test_a_strategy_follows_from_vram_number_and_patience(
    vram_gib: int, needed_gib: list[int], latency: float, expected: Strategy
) -> None:
    advice = advise_strategy([vram_gib * GIB], [need * GIB for need in needed_gib], latency)
    assert advice.strategy is expected
    assert advice.reason
    assert {option.strategy for option in advice.options} == set(Strategy)


def test_the_smallest_stay_as_long_as_each_of_the_others_finds_room_beside_them() -> None:
    chosen = advise_strategy([24 * GIB], [14 * GIB, 4 * GIB, 15 * GIB, 3 * GIB], 60).chosen
    assert (chosen.strategy, chosen.stay, chosen.swap) == (Strategy.HYBRID, (1, 3), (0, 2))
    assert chosen.peak_bytes == 22 * GIB


def test_two_cards_do_not_add_up_for_models_that_leave_gaps() -> None:
    assert advise_strategy([24 * GIB, 24 * GIB], [16 * GIB, 16 * GIB], 60).strategy is Strategy.CONCURRENT
    assert advise_strategy([24 * GIB, 24 * GIB], [40 * GIB], 60).strategy is Strategy.CONCURRENT
    three = advise_strategy([10 * GIB, 10 * GIB], [6 * GIB] * 3, 60)
    assert three.options[0].fits, "the third is spread over what both have left"


def test_a_model_that_exceeds_the_machine_is_named() -> None:
    assert advise_strategy([24 * GIB], [5 * GIB, 40 * GIB], 60).too_large == (1,)


def test_isolation_is_given_where_all_fit() -> None:
    advice = advise_strategy([24 * GIB], [5 * GIB, 6 * GIB], 60, isolated=True)
    assert (advice.strategy, advice.chosen.stay) == (Strategy.CONTAINERS, (0, 1))


def test_a_measured_swap_decides_what_is_too_slow() -> None:
    quick = advise_strategy([16 * GIB], [9 * GIB] * 3, 5, swap_seconds=2)
    slow = advise_strategy([16 * GIB], [9 * GIB] * 3, 5, swap_seconds=8)
    assert "tolerated" not in quick.reason
    assert "8 s, more than is tolerated" in slow.reason
