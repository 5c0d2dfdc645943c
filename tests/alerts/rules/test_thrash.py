"""Models that take turns in memory, or one that is reloaded for each context, are told of; what Berth loaded is not."""

from __future__ import annotations

from tests.alerts.rules.healthy import Watch, endpoint, facts, gpu, host, model

KEY = "endpoint:1"
A, B = "a:7b", "b:7b"


def turns(watch: Watch, *names: str, start: int = 0, every: int = 30, **different) -> list[str]:
    """Each of the models in memory for a while, one after the other."""
    raised: list[str] = []
    for number, name in enumerate(names):
        row = model(id=start + number + 1, name=name, **different)
        raised = watch.see(facts(host(gpu(row)), after_seconds=start + number * every))
    return raised


def test_models_that_push_each_other_out_are_raised_with_the_names():
    watch = Watch("thrash")
    assert turns(watch, A, B, A, B, A) == []
    assert turns(watch, B, start=150) == [KEY]
    assert "a:7b 2×" in watch.latest[KEY].sentence
    assert watch.latest[KEY].action.fields["model"] in {A, B}


def test_it_holds_while_it_goes_on_more_slowly_and_clears_when_it_rests():
    watch = Watch("thrash")
    assert turns(watch, A, B, A, B, A, B) == [KEY]
    assert turns(watch, A, B, A, start=200, every=150) == [KEY]
    stays = host(gpu(model(id=2000, name=A)))
    assert watch.see(facts(stays, after_seconds=2000)) == []


def test_a_context_that_flips_is_raised_with_both_sizes():
    watch = Watch("thrash")
    for number in range(6):
        row = model(context_length=(4096, 8192)[number % 2])
        raised = watch.see(facts(host(gpu(row)), after_seconds=20 * number))
    assert raised == [KEY]
    assert "8192 and 4096" in watch.latest[KEY].sentence
    assert watch.latest[KEY].action.fields["context_length"] == "8192"


def test_loads_that_berth_was_asked_for_are_nobodys_fault():
    assert turns(Watch("thrash"), *[A, B] * 6, loaded_by="ada") == []


def test_loading_each_of_many_models_once_is_no_thrash():
    assert turns(Watch("thrash"), *[f"m{number}:1b" for number in range(20)]) == []


def test_an_endpoint_that_is_away_loses_and_gains_no_model():
    watch = Watch("thrash")
    for number in range(12):
        there = host(gpu(model()), endpoints=[endpoint(is_online=number % 2 == 0)])
        assert watch.see(facts(there, after_seconds=10 * number)) == []
