"""A model that writes slower than it did, loaded in the same way, is told of; what explains itself is not."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from models_app.alerts.rules.facts import Speed
from models_app.alerts.rules.findings import Page
from tests.alerts.rules.healthy import MODEL, NOON, Watch, endpoint, facts, gpu, host, model, readings

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
RULE, KEY = "slower", f"model:1:{MODEL}"
CAN_WRITE = [endpoint(capabilities=("load", "unload", "generate"))]


def runs(*tokens_per_second: float, minutes_ago: float = 1, context: int = 4096, share: float = 1.0) -> tuple[Speed, ...]:
    """Measured runs, the newest first."""
    newest = NOON - timedelta(minutes=minutes_ago)
    return tuple(
        Speed(newest - timedelta(hours=number), each, context, share) for number, each in enumerate(tokens_per_second)
    )


def fleet(speeds: tuple[Speed, ...], after_seconds: float = 0, **different):
    return facts(
        host(gpu(model(**different)), endpoints=CAN_WRITE), after_seconds=after_seconds, speeds={(1, MODEL): speeds}
    )


USUAL = (40, 41, 39, 40, 42)


def test_it_is_raised_held_and_cleared():
    watch = Watch(RULE)
    assert watch.see(fleet(runs(40, 18, 19, *USUAL))) == [KEY]
    assert watch.see(fleet(runs(25, 26, 24, *USUAL), 10)) == [KEY]
    assert watch.see(fleet(runs(40, 38, 18, 19, *USUAL), 20)) == []


def test_one_slow_run_is_no_alert():
    assert Watch(RULE).see(fleet(runs(8, 40, 41, *USUAL))) == []


def test_the_evidence_has_both_paces_and_its_button_measures_again():
    [reading] = readings(RULE, fleet(runs(18, 19, 10, *USUAL)))
    figures = {figure.label: figure.value for figure in reading.figures}
    assert figures == {
        "Writes now": 18,
        "Wrote before": 40,
        "Slowest of the last three": 10,
        "Earlier runs": 5,
        "Utilisation of its GPU": 40,
        "Temperature of its GPU": 60,
    }
    assert "18.0 tokens/s where it wrote 40.0" in reading.sentence
    assert reading.action.page is Page.OPERATIONS
    assert reading.action.fields == {"kind": "measure_speed", "endpoint": "1", "model": MODEL}


@pytest.mark.parametrize(
    "speeds",
    [
        (),
        runs(18, 19, 18, 40, 41, 40, 39),
        runs(18, 19, 18, context=65_536) + runs(*USUAL, minutes_ago=300),
        runs(18, 19, 18, share=0.5) + runs(*USUAL, minutes_ago=300),
        runs(18, 19, 18, *USUAL, minutes_ago=60 * 25),
    ],
    ids=["never measured", "measured too seldom", "another context", "fewer layers on the GPU", "long ago"],
)
def test_what_is_not_known_or_explains_itself_is_not_judged(speeds):
    assert readings(RULE, fleet(speeds)) == []


def test_nothing_is_said_while_an_operation_touches_it():
    assert [each.value for each in readings(RULE, fleet(runs(18, 19, 18, *USUAL), operation_id=5))] == [None]


def test_a_llama_servers_metrics_have_sums_and_means_and_no_percentiles():
    """Why there is no rule on the p99 of requests: from a sum over all of them none follows."""
    recorded = json.loads((FIXTURES / "recorded" / "single_metrics_after.json").read_text())
    kinds = {line.split()[3] for line in recorded["body"].splitlines() if line.startswith("# TYPE")}
    assert kinds == {"counter", "gauge"}
