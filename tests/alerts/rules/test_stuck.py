"""What does not come to its end is told of, with what ends it."""

from __future__ import annotations

from datetime import timedelta

from models_app.alerts.rules.facts import Knock, RunningLoad
from models_app.alerts.rules.findings import Page
from tests.alerts.rules.healthy import GIB, MODEL, NOON, Watch, endpoint, facts, gpu, host, model

STOPPING = host(gpu(model(state="stopping")))


def test_a_model_that_stops_for_too_long_is_raised_held_and_cleared():
    watch, key = Watch("stuck_stopping"), f"model:1:{MODEL}"
    assert [watch.see(facts(STOPPING, after_seconds=second)) for second in (0, 30, 60)] == [[], [], [key]]
    assert watch.latest[key].action.fields == {"kind": "unload", "endpoint": "1", "model": MODEL}
    assert watch.see(facts(STOPPING, after_seconds=90)) == [key]
    assert watch.see(facts(after_seconds=95)) == []


def test_a_model_that_stops_in_its_time_is_no_alert():
    watch = Watch("stuck_stopping")
    for start in (0, 100, 200):
        assert watch.see(facts(STOPPING, after_seconds=start)) == []
        assert watch.see(facts(STOPPING, after_seconds=start + 20)) == []
        assert watch.see(facts(after_seconds=start + 40)) == []


def loading(risen_gib: float, after_seconds: int, **different):
    load = RunningLoad(7, 1, "deepseek-r1:32b", int(risen_gib * GIB), 20 * GIB)
    return facts(after_seconds=after_seconds, loads=(load,), **different)


def test_a_load_that_does_not_move_is_raised_with_its_cancellation_and_cleared_when_it_ends():
    watch, key = Watch("deadlock"), "endpoint:1"
    assert [watch.see(loading(3, second)) for second in (0, 60, 119, 120)] == [[], [], [], [key]]
    action = watch.latest[key].action
    assert (action.page, action.fields) == (Page.CANCEL, {"operation_id": "7"})
    assert watch.see(loading(3, 150)) == [key]
    assert watch.see(facts(after_seconds=160)) == []


def test_a_load_that_rises_however_slowly_is_no_alert():
    watch = Watch("deadlock")
    assert [watch.see(loading(number / 100, 100 * number)) for number in range(10)] == [[]] * 10


def test_a_scheduler_that_answers_a_knock_is_busy_and_not_dead():
    watch = Watch("deadlock")
    watch.see(loading(3, 0))
    at = NOON + timedelta(seconds=130)
    assert watch.see(loading(3, 140, knocks={1: Knock(at, 0.2)})) == []
    assert watch.see(loading(3, 150, knocks={1: Knock(at, None)})) == ["endpoint:1"]
    assert "did not answer in time" in watch.latest["endpoint:1"].sentence


def test_an_endpoint_that_answers_nothing_is_lost_and_not_deadlocked():
    watch = Watch("deadlock")
    away = host(endpoints=[endpoint(is_online=False)])
    load = RunningLoad(7, 1, MODEL, 0, None)
    for second in (0, 100, 200):
        assert watch.see(facts(away, after_seconds=second, loads=(load,))) == []
