"""The panel's time as an agent knows it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from models_app.agent.clock import MESSAGES, PanelClock

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_the_message_that_came_fastest_tells_the_time() -> None:
    clock = PanelClock()
    for said, heard in ((0, 1.7), (10, 10.02), (20, 20.9)):
        clock.hear(after(said), heard)
    assert clock.at(30) == after(29.98)


def test_a_panel_clock_that_is_set_back_is_followed_after_some_messages() -> None:
    clock = PanelClock()
    clock.hear(after(0), 0)
    for heard in range(1, MESSAGES + 1):
        clock.hear(after(heard - 600), heard)
    assert clock.at(100) == after(-500)
