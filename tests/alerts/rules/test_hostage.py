"""A model that is kept for ever and idle is told of only where others were refused for want of room."""

from __future__ import annotations

from datetime import timedelta

import pytest

from models_app.alerts.rules.facts import Refusal
from tests.alerts.rules.healthy import MODEL, NOON, Watch, facts, gpu, host, model

KEY = f"model:1:{MODEL}"
REFUSED = (Refusal(1, "deepseek-r1:32b", NOON),)


def keeping(utilization: int | None = 0, **different):
    return host(gpu(model(**({"kept_forever": True} | different)), utilization_percent=utilization))


def course(watch: Watch, *minutes: int, refusals=REFUSED, **different) -> list[str]:
    raised: list[str] = []
    for minute in minutes:
        raised = watch.see(facts(keeping(**different), after_seconds=60 * minute, refusals=refusals))
    return raised


def test_an_idle_hostage_is_raised_held_and_cleared_when_it_works():
    watch = Watch("hostage")
    assert course(watch, 0, 5) == []
    assert course(watch, 10) == [KEY]
    assert "deepseek-r1:32b" in watch.latest[KEY].sentence
    assert course(watch, 12) == [KEY]
    assert course(watch, 13, utilization=70) == []


def test_the_action_shortens_its_keep_alive_or_unloads_it():
    watch = Watch("hostage")
    course(watch, 0, 10)
    assert watch.latest[KEY].action.fields == {
        "kind": "set_keep_alive",
        "endpoint": "1",
        "model": MODEL,
        "keep_alive": "5m",
    }
    course(watch, 11, can_set_keep_alive=False)
    assert watch.latest[KEY].action.fields["kind"] == "unload"


@pytest.mark.parametrize(
    "harmless",
    [
        {"refusals": ()},
        {"refusals": (Refusal(99, "elsewhere:1b", NOON),)},
        {"refusals": (Refusal(1, MODEL, NOON),)},
        {"pinned": True},
        {"kept_forever": False},
        {"kept_forever": False, "expires_at": NOON + timedelta(minutes=70)},
        {"utilization": 30},
        {"utilization": None},
    ],
    ids=str,
)
def test_whoever_is_in_nobodys_way_or_pinned_or_at_work_is_no_hostage(harmless):
    assert course(Watch("hostage"), *range(0, 60, 5), **harmless) == []
