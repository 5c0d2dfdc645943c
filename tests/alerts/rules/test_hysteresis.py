"""A value becomes an alert only when it stays beyond its limit, and stops being one only when it stays below the other."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from models_app.alerts.rules.findings import Limits
from models_app.alerts.rules.hysteresis import Track, follow
from tests.alerts.rules.healthy import NOON

LIMITS = Limits(90, 85, 60)


def course(*values: float | None, every_seconds: int = 30, limits: Limits = LIMITS) -> list[bool]:
    """Whether it is raised after each of the values."""
    track, raised = None, []
    for number, value in enumerate(values):
        track = follow(track, value, limits, NOON + timedelta(seconds=number * every_seconds))
        raised.append(track is not None and track.is_raised)
    return raised


def test_it_is_raised_once_the_limit_has_been_held_for_long_enough():
    assert course(95, 95, 95) == [False, False, True]


def test_one_value_below_the_limit_begins_anew():
    assert course(95, 95, 89, 95, 95, 95) == [False, False, False, False, False, True]


def test_between_the_limits_it_stays_as_it_is():
    assert course(95, 95, 95, 87, 87, 87, 87) == [False, False, True, True, True, True, True]
    assert course(87, 87, 87, 87) == [False] * 4


def test_it_is_cleared_once_the_lower_limit_has_been_held_for_long_enough():
    assert course(95, 95, 95, 80, 80, 80)[-3:] == [True, True, False]


def test_a_relapse_on_the_way_down_keeps_it_raised():
    assert course(95, 95, 95, 80, 80, 88, 80, 80)[-1]


def test_a_value_that_is_not_known_changes_nothing():
    assert course(95, 95, 95, None, None, None)[-1]
    assert course(95, 95, None, None)[-1] is False


def test_without_a_duration_it_is_raised_and_cleared_at_once():
    assert course(1, 0, limits=Limits(1, 0, 0)) == [True, False]


def test_since_is_when_the_value_came_to_the_limit():
    track = follow(None, 95, LIMITS, NOON)
    later = follow(track, 99, LIMITS, NOON + timedelta(minutes=2))
    assert later == Track(NOON, True)


@given(st.lists(st.floats(0, 89.9) | st.none(), max_size=50))
def test_it_is_never_raised_by_values_that_do_not_reach_the_limit(values):
    assert not any(course(*values, limits=Limits(90, 85, 0)))


@given(st.lists(st.floats(85.1, 100) | st.none(), max_size=50))
def test_it_is_never_cleared_by_values_above_the_lower_limit(values):
    assert all(course(95, *values, limits=Limits(90, 85, 0)))


@given(st.lists(st.floats(0.1, 300), min_size=1, max_size=30))
def test_it_lasts_as_long_as_it_should_however_often_one_looks(gaps):
    at, track = NOON, follow(None, 95, LIMITS, NOON)
    for gap in gaps:
        at += timedelta(seconds=gap)
        track = follow(track, 95, LIMITS, at)
        assert track is not None
        assert track.is_raised == (at - NOON >= timedelta(seconds=60))
