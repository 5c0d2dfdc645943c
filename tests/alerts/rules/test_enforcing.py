"""A plan that somebody else will not have is told of, with what enforces it again."""

from __future__ import annotations

from datetime import timedelta

from models_app.alerts.rules.facts import Stop
from models_app.alerts.rules.findings import Page
from tests.alerts.rules.healthy import MODEL, NOON, Watch, facts

STOP = Stop(4, 1, MODEL, "It was put right 3 times and has drifted again.", NOON - timedelta(minutes=5), 3)


def test_a_model_that_is_let_be_is_raised_until_the_plan_is_enforced_again():
    watch, key = Watch("enforcement_stopped"), f"model:1:{MODEL}"
    assert watch.see(facts(stops=(STOP,))) == [key]
    found = watch.latest[key]
    assert (found.sentence, found.figures[0].value, found.figures[1].value) == (STOP.reason, 3, 300)
    assert found.action is not None
    assert (found.action.page, found.action.fields) == (Page.ENFORCE, {"plan_id": "4", "enforce": "on"})
    assert watch.see(facts(after_seconds=30)) == []


def test_a_stop_on_an_endpoint_that_was_removed_is_no_alert():
    assert Watch("enforcement_stopped").see(facts(stops=(Stop(4, 9, MODEL, "", NOON, 3),))) == []
