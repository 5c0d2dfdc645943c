"""A model that takes more and more memory is told of before its GPU is full."""

from __future__ import annotations

from tests.alerts.rules.healthy import GIB, MODEL, Watch, facts, gpu, host, model

KEY = f"model:1:{MODEL}"


def course(watch: Watch, *held_gib: float, start: int = 0, **different) -> list[str]:
    raised: list[str] = []
    for number, gib in enumerate(held_gib):
        row = model(gpu_bytes={"GPU-1": int(gib * GIB)}, **different)
        free_bytes = int((8 - gib) * GIB)
        raised = watch.see(facts(host(gpu(row, free_bytes=free_bytes)), after_seconds=start + 40 * number))
    return raised


GROWING = (4, 4.1, 4.2, 4.3, 4.4, 4.5, 4.6, 4.7)


def test_growth_that_fills_the_gpu_within_the_hour_is_raised():
    watch = Watch("growth")
    assert course(watch, *GROWING) == [KEY]
    assert "its GPU is full in" in watch.latest[KEY].sentence
    assert watch.latest[KEY].action.fields["kind"] == "unload"


def test_it_holds_while_it_still_grows_and_clears_once_it_rests():
    watch = Watch("growth")
    course(watch, *GROWING)
    assert course(watch, *[4.7] * 6, start=320) == [KEY]
    assert course(watch, *[4.7] * 90, start=600) == []


def test_memory_that_goes_up_and_down_does_not_grow():
    assert course(Watch("growth"), 4, 4.5, 4, 4.6, 4, 4.7, 4, 4.8, 4.2, 4.9) == []


def test_a_claim_of_the_endpoint_is_no_measurement():
    assert course(Watch("growth"), *GROWING, attributed_by="endpoint") == []
