"""A keep-alive follows from the gap between requests, as the published guides have it."""

from __future__ import annotations

import pytest

from models_app.estimator.keep_alive import advise_keep_alive


@pytest.mark.parametrize(
    ("requests_per_hour", "seconds"), [(0, 0), (1, 300), (4, 1800), (6, 1200), (12, 600), (60, 300), (1000, 300)]
)
def test_an_idle_model_stays_for_twice_the_usual_gap_within_bounds(requests_per_hour: float, seconds: int) -> None:
    assert advise_keep_alive(requests_per_hour).seconds == seconds


def test_what_is_asked_seldom_costs_a_load_each_time() -> None:
    advice = advise_keep_alive(1.5, reload_seconds=24)
    assert (advice.reloads_per_hour, advice.waiting_share) == (1.5, pytest.approx(0.01))
    assert advise_keep_alive(1.5).waiting_share is None


def test_what_is_asked_often_is_never_loaded_again() -> None:
    assert advise_keep_alive(20, reload_seconds=24).reloads_per_hour == 0


def test_a_negative_frequency_is_no_frequency() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        advise_keep_alive(-1)
