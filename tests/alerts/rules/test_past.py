"""What rules remember is bounded and survives being written down."""

from __future__ import annotations

from pydantic import TypeAdapter

from models_app.alerts.rules.past import MOST_POINTS, Past
from models_app.alerts.rules.stays import MOST_STAYS
from tests.alerts.rules.healthy import endpoint, facts, gpu, host, model


def busy_past(snapshots: int) -> Past:
    past = Past()
    for number in range(snapshots):
        row = model(id=number // 2, name=f"m{number // 2}:1b", state=("loaded", "stopping")[number % 2])
        past = past.after(facts(host(gpu(row, model(id=-1))), after_seconds=31 * number))
    return past


def test_it_comes_back_from_json_as_it_was():
    past = busy_past(9)
    adapter = TypeAdapter(Past)
    assert adapter.validate_json(adapter.dump_json(past)) == past


def test_it_does_not_grow_without_bound():
    past = busy_past(400)
    assert len(past.ended_by_endpoint()[1]) <= MOST_STAYS
    assert len(past.growth[-1].points) == MOST_POINTS
    assert len(past.growth) + len(past.stopping_since) <= 3


def test_what_is_gone_with_its_host_is_forgotten():
    past = busy_past(9)
    other = facts(host(gpu(uuid="GPU-2"), id=2, endpoints=[endpoint(id=2)]), after_seconds=400)
    forgotten = past.after(other)
    assert past.stays
    assert forgotten.stays == ()
    assert set(forgotten.busy_at) == {"GPU-2"}
