"""Steps of time: least, mean, greatest and p95, straight from the samples and merged from finer steps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_app.telemetry.history.rollup import merge, refill, statistics_of, summarize
from models_app.telemetry.history.tables import UNKNOWN, Table

READINGS = st.lists(st.tuples(st.integers(0, 7200), st.integers(0, 80 * 2**30)), min_size=1, max_size=200)


def seconds(rows: dict[float, float], column: str = "used") -> Table:
    made = Table()
    for time in sorted(rows):
        made.append(time, {column: rows[time], "boot": 1, "sequence": time})
    return made


def figures(steps: Table, row: int = 0, column: str = "used") -> list[float]:
    return [values[row] for values in statistics_of(steps, column)]


def test_a_step_holds_least_mean_greatest_and_p95() -> None:
    steps = summarize(seconds({second: second for second in range(100)}), 100)
    assert figures(steps) == [0, 49.5, 99, 94]
    assert list(steps.columns["count"]) == [100]


def test_steps_begin_at_round_times_and_a_gap_has_none() -> None:
    steps = summarize(seconds({9: 1, 10: 2, 19.9: 4, 40: 8}), 10)
    assert list(steps.times) == [0, 10, 40]
    assert list(steps.columns["mean|used"]) == [1, 3, 8]
    assert list(steps.columns["count"]) == [1, 2, 1]


def test_what_was_not_measured_counts_for_nothing() -> None:
    steps = summarize(seconds({0: 40, 1: UNKNOWN, 2: 60, 10: UNKNOWN}, "utilization"), 10)
    assert figures(steps, 0, "utilization") == [40, 50, 60, 60]
    assert figures(steps, 1, "utilization") == [UNKNOWN] * 4
    assert figures(merge(steps, 20), 0, "utilization") == [40, 50, 60, 60]


@given(READINGS)
def test_merged_steps_agree_with_those_from_the_samples(readings: list[tuple[int, int]]) -> None:
    samples = seconds(dict(readings))
    merged, direct = merge(summarize(samples, 10), 3600), summarize(samples, 3600)
    assert (merged.times, merged.columns["count"]) == (direct.times, direct.columns["count"])
    for row in range(len(direct)):
        (least, mean, greatest, bound), (low, exact, high, p95) = figures(merged, row), figures(direct, row)
        assert (least, greatest) == (low, high)
        assert math.isclose(mean, exact, rel_tol=1e-9)
        assert p95 <= bound <= high


def test_a_sealed_hour_is_only_filled_where_it_is_empty() -> None:
    sealed = {step: summarize(seconds({0: 10, 60: 20}), step) for step in (10, 60)}
    filled = refill(seconds({0: 999, 120: 30}), sealed)
    assert list(filled[60].times) == [0, 60, 120]
    assert list(filled[60].columns["mean|used"]) == [10, 20, 30]
    assert figures(filled[3600]) == [10, 20, 30, 30]


@pytest.mark.parametrize("step", [10, 60, 3600])
def test_no_sample_makes_no_step(step: int) -> None:
    assert len(summarize(Table(), step)) == 0
    assert len(merge(Table(), step)) == 0
