"""Loads and unloads without a GPU are judged by the memory of the process: it can confirm, and never refutes."""

from __future__ import annotations

from django.utils import timezone

from models_app.backends.protocol import ModelState, Observation, ResidentModel
from models_app.operations.verify import Reading, judge_load, judge_unload

MIB = 1024**2
LOADED = Observation((ResidentModel("m", ModelState.LOADED, size_bytes=500 * MIB),))


def reading(observation: Observation, ram_bytes: int | None) -> Reading:
    return Reading(observation, timezone.now(), None, ram_bytes=ram_bytes)


def test_enough_resident_memory_confirms_a_load() -> None:
    judgement = judge_load(reading(LOADED, 480 * MIB), "m", {}, 600 * MIB, on_gpu=True)
    assert (judgement.verified_by, judgement.moved_bytes, judgement.memory) == ("process", 480 * MIB, "host RAM")


def test_too_little_of_it_leaves_the_endpoints_word_and_says_how_much_there_is() -> None:
    judgement = judge_load(reading(LOADED, 50 * MIB), "m", {}, 600 * MIB, on_gpu=False)
    assert judgement.verified_by == "endpoint"
    assert "50 MiB" in judgement.notes[0]


def test_nothing_known_of_processes_leaves_the_endpoints_word() -> None:
    assert judge_load(reading(LOADED, None), "m", {}, 600 * MIB, on_gpu=False).verified_by == "endpoint"
    unknown = Observation((ResidentModel("m", ModelState.LOADED),))
    assert judge_load(reading(unknown, 50 * MIB), "m", {}, None, on_gpu=False).verified_by == "endpoint"


def test_an_unload_is_confirmed_by_the_process_that_has_ended() -> None:
    gone = judge_unload(reading(Observation(), 0), "m", {}, {}, None, 480 * MIB)
    assert (gone.verified_by, gone.moved_bytes) == ("process", 480 * MIB)
    held = judge_unload(reading(Observation(), 400 * MIB), "m", {}, {}, None, 480 * MIB)
    assert held.verified_by == "endpoint"
    assert judge_unload(reading(Observation(), None), "m", {}, {}, None, 480 * MIB).verified_by == "endpoint"
