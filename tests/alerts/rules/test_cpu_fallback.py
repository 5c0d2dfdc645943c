"""A model that lies partly on the CPU is told of, with a context that would fit where there is one."""

from __future__ import annotations

from models_app.alerts.rules.facts import Speed
from models_app.alerts.rules.findings import Page
from models_app.probes.types import PoolKind
from tests.alerts.rules.healthy import GIB, MODEL, NOON, Watch, endpoint, facts, gpu, host, model, readings

KEY = f"model:1:{MODEL}"


def on_cpu(gib: float, **different):
    return host(gpu(model(cpu_bytes=int(gib * GIB), **different)))


def test_it_is_raised_held_and_cleared():
    watch = Watch("cpu_fallback")
    assert [watch.see(facts(on_cpu(1), after_seconds=second)) for second in (0, 10, 20)] == [[], [], [KEY]]
    assert watch.see(facts(on_cpu(0.1), after_seconds=100)) == [KEY]
    assert [watch.see(facts(on_cpu(0), after_seconds=second)) for second in (120, 150)] == [[KEY], []]


def test_the_evidence_has_bytes_and_layers():
    [reading] = readings("cpu_fallback", facts(on_cpu(1.5), layer_counts={(1, MODEL): 32}))
    figures = {figure.label: figure.value for figure in reading.figures}
    assert figures == {
        "Size": 6 * GIB,
        "In VRAM": 4.5 * GIB,
        "On the CPU": 1.5 * GIB,
        "VRAM of its process": 6 * GIB,
        "Layers on the CPU, about": 8,
    }
    assert "1.5 GiB of 6.0 GiB (25 %)" in reading.sentence


def test_a_smaller_context_is_proposed_where_its_cache_makes_the_room():
    [reading] = readings("cpu_fallback", facts(on_cpu(1.2)))
    assert reading.action.page is Page.OPERATIONS
    assert reading.action.fields == {"kind": "load", "endpoint": "1", "model": MODEL, "context_length": "4096"}


def test_where_no_context_would_do_the_form_is_offered_that_says_what_would():
    [reading] = readings("cpu_fallback", facts(on_cpu(5)))
    assert reading.action.page is Page.LOAD
    fixed = host(gpu(model(cpu_bytes=GIB)), endpoints=[endpoint(load_options=())])
    assert readings("cpu_fallback", facts(fixed))[0].action.page is Page.LOAD


def test_a_machine_without_vram_is_meant_to_use_its_cpu():
    assert readings("cpu_fallback", facts(host(gpu(model(cpu_bytes=GIB), pool=PoolKind.UNIFIED)))) == []


def test_nothing_is_said_while_the_model_is_moving_or_its_endpoint_is_away():
    assert readings("cpu_fallback", facts(on_cpu(3, operation_id=5)))[0].value is None
    assert readings("cpu_fallback", facts(on_cpu(3, state="stopping")))[0].value is None
    away = host(gpu(model(cpu_bytes=GIB)), endpoints=[endpoint(is_online=False)])
    assert readings("cpu_fallback", facts(away))[0].value is None


def test_measured_speeds_stand_beside_the_bytes():
    [reading] = readings(
        "cpu_fallback", facts(on_cpu(1), speeds={(1, MODEL): [Speed(NOON, 6.5, None, 0.5), Speed(NOON, 41.0, None, 1)]})
    )
    figures = {figure.label: figure.value for figure in reading.figures}
    assert (figures["Measured last"], figures["Its best here"]) == (6.5, 41.0)
