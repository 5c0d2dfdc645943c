"""A model whose memory is gone though its server lists it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.alerts.rules.healthy import GIB, MODEL, UUID, Watch, endpoint, facts, gpu, host, model

RULE, KEY = "not_in_memory", f"model:1:{MODEL}"


def holding(bytes_: int, **different):
    shares = {UUID: bytes_} if bytes_ else {}
    return model(gpu_bytes=shares, **different)


def test_a_model_whose_process_died_is_raised_and_cleared_when_it_is_back():
    watch = Watch(RULE)
    gone = host(gpu(), models=(holding(0),))
    assert [watch.see(facts(gone, after_seconds=second)) for second in (0, 10, 20)] == [[], [], [KEY]]
    assert "6.0 GiB of its 6.0 GiB are on no GPU" in watch.latest[KEY].sentence
    assert watch.latest[KEY].action.fields == {"kind": "unload", "endpoint": "1", "model": MODEL}
    assert watch.see(facts(after_seconds=30)) == [KEY]
    assert watch.see(facts(after_seconds=60)) == []


def test_without_a_gpu_it_is_the_process_that_tells():
    watch = Watch(RULE)
    dead = model(gpu_bytes={}, cpu_bytes=6 * GIB, has_lost_process=True)
    nowhere = replace(host((gpu()[0], (dead,))), gpus=())
    assert [watch.see(facts(nowhere, after_seconds=second)) for second in (0, 10, 20)] == [[], [], [KEY]]
    assert "6.0 GiB of its 6.0 GiB are in no process of its server" in watch.latest[KEY].sentence
    alive = replace(nowhere, models=(replace(dead, has_lost_process=False),))
    assert watch.see(facts(alive, after_seconds=30)) == []


@pytest.mark.parametrize(
    "normal",
    [
        host(gpu(holding(4 * GIB))),
        host(gpu(holding(0, cpu_bytes=6 * GIB))),
        host(gpu(holding(0, size_bytes=None))),
        host(gpu(holding(0, operation_id=7))),
        host(gpu(holding(0, state="loading"))),
        host(gpu(holding(0)), is_stale=True),
        host(gpu(holding(0)), endpoints=[endpoint(is_online=False)]),
    ],
    ids=["a generous claim", "on the CPU", "unknown size", "at work", "loading", "not seen", "away"],
)
def test_what_is_explained_otherwise_is_no_alert(normal):
    watch = Watch(RULE)
    assert [watch.see(facts(normal, after_seconds=second)) for second in (0, 60, 120)] == [[], [], []]
