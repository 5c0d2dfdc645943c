"""Cron expressions fire by the clock on the wall, also on the days when it jumps."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from models_app.plans.cron import InvalidSchedule, in_words, next_firing


def firings(cron: str, zone: str, after: datetime, count: int) -> list[datetime]:
    found = []
    for _ in range(count):
        after = next_firing(cron, zone, after)
        found.append(after)
    return found


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def test_it_fires_by_the_clock_of_its_zone() -> None:
    assert next_firing("0 20 * * *", "Europe/Berlin", utc(2026, 1, 5, 12)) == utc(2026, 1, 5, 19)
    assert next_firing("0 20 * * *", "Europe/Berlin", utc(2026, 7, 5, 12)) == utc(2026, 7, 5, 18)
    assert next_firing("0 20 * * *", "Asia/Kolkata", utc(2026, 7, 5, 12)) == utc(2026, 7, 5, 14, 30)


def test_an_hour_that_is_left_out_fires_right_after_it() -> None:
    assert firings("30 2 * * *", "Europe/Berlin", utc(2026, 3, 28, 12), 2) == [utc(2026, 3, 29, 1), utc(2026, 3, 30, 0, 30)]


def test_an_hour_that_comes_twice_fires_once() -> None:
    assert firings("30 2 * * *", "Europe/Berlin", utc(2026, 10, 24, 12), 2) == [
        utc(2026, 10, 25, 0, 30),
        utc(2026, 10, 26, 1, 30),
    ]


def test_every_hour_fires_in_both() -> None:
    assert firings("30 * * * *", "Europe/Berlin", utc(2026, 10, 25, 0), 3) == [
        utc(2026, 10, 25, 0, 30),
        utc(2026, 10, 25, 1, 30),
        utc(2026, 10, 25, 2, 30),
    ]


def test_workdays_are_workdays() -> None:
    assert next_firing("0 8 * * 1-5", "UTC", utc(2026, 11, 20, 9)) == utc(2026, 11, 23, 8)


@pytest.mark.parametrize(
    "cron", ["", "* * * *", "60 * * * *", "a b c d e", "0 0 * * * * *", "0 8 * * 1-9", "\x00", "*" * 200]
)
def test_what_is_no_expression_says_what_one_is(cron: str) -> None:
    with pytest.raises(InvalidSchedule, match="Five fields") as refused:
        next_firing(cron, "UTC", utc(2026, 1, 1))
    assert refused.value.field == "cron"


def test_a_day_that_never_comes_is_refused() -> None:
    with pytest.raises(InvalidSchedule):
        next_firing("0 0 30 2 *", "UTC", utc(2026, 1, 1))


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "a" * 300, "\x00"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidSchedule, match="no time zone") as refused:
        next_firing("0 8 * * *", zone, utc(2026, 1, 1))
    assert refused.value.field == "time_zone"


def test_an_expression_has_words() -> None:
    assert "20:00" in in_words("0 20 * * *")
    assert in_words("nonsense") == "nonsense"
