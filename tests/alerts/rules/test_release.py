"""Memory that stays taken after unloads: all of it, or a little more with each."""

from __future__ import annotations

import pytest

from tests.alerts.rules.healthy import GIB, MODEL, Watch, endpoint, facts, gpu, host, model

MIB = 1024**2
KEY = f"model:1:{MODEL}"


def loaded(row_id: int = 1, unexplained_bytes: int = 0):
    return host(gpu(model(id=row_id), unexplained_bytes=unexplained_bytes))


def unloaded(unexplained_bytes: int):
    return host(gpu(unexplained_bytes=unexplained_bytes))


def test_memory_that_is_not_given_back_is_raised_with_its_size():
    watch = Watch("not_released")
    watch.see(facts(loaded()))
    for second in (5, 20, 25, 50):
        raised = watch.see(facts(unloaded(6 * GIB), after_seconds=second))
    assert raised == [KEY]
    reading = watch.latest[KEY]
    assert "6.0 GiB of its 6.0 GiB" in reading.sentence
    assert "systemctl restart ollama" in reading.advice


def test_it_holds_while_a_part_is_still_taken_and_clears_when_the_rest_is_given_back():
    watch = Watch("not_released")
    watch.see(facts(loaded()))
    for second in (5, 20, 50):
        watch.see(facts(unloaded(6 * GIB), after_seconds=second))
    assert watch.see(facts(unloaded(2 * GIB), after_seconds=60)) == [KEY]
    assert [watch.see(facts(unloaded(0), after_seconds=second)) for second in (70, 100)] == [[KEY], []]


def test_memory_that_comes_late_is_no_alert():
    watch = Watch("not_released")
    watch.see(facts(loaded()))
    for second, left_bytes in ((2, 6 * GIB), (8, 3 * GIB), (20, 0), (60, 0)):
        assert watch.see(facts(unloaded(left_bytes), after_seconds=second)) == []


def test_what_was_unexplained_before_is_not_the_models_fault():
    watch = Watch("not_released")
    watch.see(facts(loaded(unexplained_bytes=5 * GIB)))
    for second in (5, 20, 60, 100):
        assert watch.see(facts(unloaded(5 * GIB), after_seconds=second)) == []


def test_memory_that_another_program_takes_later_is_not_taken_for_the_models():
    watch = Watch("not_released")
    watch.see(facts(loaded()))
    watch.see(facts(unloaded(0), after_seconds=5))
    watch.see(facts(unloaded(0), after_seconds=25))
    for second in (40, 80, 120):
        assert watch.see(facts(unloaded(6 * GIB), after_seconds=second)) == []


def cycles(watch: Watch, *left_mib: int, start: int = 0) -> list[str]:
    """Loads and unloads, with what is unexplained after each."""
    before = 0
    raised: list[str] = []
    for number, left in enumerate(left_mib):
        second = start + 60 * number
        watch.see(facts(loaded(start + number + 1, before * MIB), after_seconds=second))
        watch.see(facts(unloaded(left * MIB), after_seconds=second + 10))
        raised = watch.see(facts(unloaded(left * MIB), after_seconds=second + 40))
        before = left
    return raised


def test_a_leak_is_raised_after_three_loads_that_each_left_memory_behind():
    watch = Watch("leak")
    assert cycles(watch, 100, 250) == []
    assert cycles(watch, 100, 250, 380, start=1000) == ["endpoint:1"]
    assert [round(figure.value / MIB) for figure in watch.latest["endpoint:1"].figures] == [100, 150, 130]


def test_a_leak_is_held_while_loads_leave_less_and_cleared_when_they_leave_nothing():
    watch = Watch("leak")
    assert cycles(watch, 100, 200, 300) == ["endpoint:1"]
    watch.see(facts(loaded(50, 300 * MIB), after_seconds=400))
    watch.see(facts(unloaded(340 * MIB), after_seconds=410))
    assert watch.see(facts(unloaded(340 * MIB), after_seconds=440)) == ["endpoint:1"]
    watch.see(facts(loaded(51, 340 * MIB), after_seconds=500))
    watch.see(facts(unloaded(340 * MIB), after_seconds=510))
    assert watch.see(facts(unloaded(340 * MIB), after_seconds=540)) == []


@pytest.mark.parametrize("left", [(20, 40, 60), (100, 100, 200), (0, 0, 0)])
def test_a_little_or_now_and_then_is_no_leak(left):
    assert cycles(Watch("leak"), *left) == []


def test_a_model_that_was_not_released_at_all_is_no_leak():
    assert cycles(Watch("leak"), *(6 * 1024 * number for number in (1, 2, 3))) == []


def test_a_server_that_can_be_restarted_is_offered_that_and_of_another_no_innocent_model_is_unloaded():
    other = model(id=9, name="other:1b", can_unload=True)
    for capabilities, words in ((("restart",), "Restart other:1b"), ((), None)):
        watch = Watch("not_released")
        server = [endpoint(capabilities=capabilities)]
        watch.see(facts(host(gpu(model(), other), endpoints=server)))
        for second in (5, 20, 50):
            watch.see(facts(host(gpu(other, unexplained_bytes=6 * GIB), endpoints=server), after_seconds=second))
        action = watch.latest[KEY].action
        assert (action and action.words) == words


def test_a_model_that_is_seen_half_way_out_is_held_against_what_it_held_before():
    watch = Watch("not_released")
    watch.see(facts(host(gpu(model()))))
    watch.see(facts(host(gpu(model(gpu_bytes={}), unexplained_bytes=6 * GIB)), after_seconds=5))
    gone = host(gpu(unexplained_bytes=6 * GIB))
    assert [watch.see(facts(gone, after_seconds=second)) for second in (10, 30, 60)] == [[], [], [KEY]]
