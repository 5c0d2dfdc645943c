"""What fills a GPU, as stretches of its bar."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from models_app.operations.fleet_view import ModelView, SegmentKind
from models_app.operations.memory_bar import Promise, fill, fill_ram
from models_app.probes.types import GpuSample, RamSample

Kind = SegmentKind
GPU = GpuSample("GPU-1", 0, "RTX", total_bytes=1000, driver_reserved_bytes=20, used_bytes=500, free_bytes=480)
MODEL = ModelView(
    id=1,
    name="llama3.1:8b",
    hue=3,
    endpoint_id=1,
    endpoint_name="one",
    state="loaded",
    quantization="",
    is_embedding=False,
    context_length=None,
    parallel=None,
    gpu_bytes={"GPU-1": 300},
    kv_bytes=0,
    cpu_bytes=0,
    size_bytes=None,
    attributed_by="process",
    expires_at=None,
    kept_forever=False,
    pinned=False,
    loaded_by="",
    can_unload=True,
    can_set_keep_alive=True,
    can_measure_speed=True,
    operation_id=None,
)


def sizes(segments: Any) -> list[tuple[str, int]]:
    return [(segment.kind.value, segment.size_bytes) for segment in segments]


def test_driver_models_others_and_the_unexplained_add_up_to_what_is_used():
    filling = fill(GPU, [MODEL], {"python3": 50}, [])
    assert sizes(filling.segments) == [("driver", 20), ("weights", 300), ("other", 50), ("unexplained", 150)]
    assert [segment.offset_bytes for segment in filling.segments] == [0, 20, 320, 370]
    assert filling.unexplained_bytes == 150


def test_a_model_of_which_nobody_knows_whether_it_is_still_there_fills_nothing():
    gone = replace(MODEL, cpu_bytes=40, last_seen_at=datetime(2026, 5, 4, tzinfo=UTC))
    assert sizes(fill(GPU, [gone], {"python3": 50}, []).segments) == [("driver", 20), ("other", 50), ("unexplained", 450)]
    assert sizes(fill_ram(RamSample(100, 40), [gone])) == [("other", 60)]


def test_a_known_kv_cache_is_set_apart_in_proportion_to_the_share_on_this_gpu():
    split = replace(MODEL, gpu_bytes={"GPU-1": 300, "GPU-2": 100}, kv_bytes=80)
    assert sizes(fill(GPU, [split], {}, []).segments)[1:3] == [("weights", 240), ("kv", 60)]


def test_a_load_shows_what_has_risen_and_hatches_the_rest():
    filling = fill(GPU, [], {}, [Promise("gemma3:12b", 5, reservation_bytes=400, baseline_bytes=350)])
    assert sizes(filling.segments) == [("driver", 20), ("unexplained", 350), ("weights", 150), ("pending", 250)]
    assert filling.held_bytes == 250


def test_a_load_that_processes_explain_already_is_not_counted_twice():
    filling = fill(GPU, [MODEL], {}, [Promise(MODEL.name, 3, reservation_bytes=400, baseline_bytes=200)])
    assert sizes(filling.segments) == [("driver", 20), ("weights", 300), ("unexplained", 200), ("pending", 100)]


def test_what_a_swap_has_freed_is_still_held_for_its_load():
    filling = fill(GPU, [], {}, [Promise("gemma3:12b", 5, reservation_bytes=100, baseline_bytes=600)])
    assert filling.held_bytes == 200


def test_a_reservation_of_nothing_holds_nothing():
    assert fill(GPU, [], {}, [Promise("phi4:14b", 5, reservation_bytes=0, baseline_bytes=900)]).held_bytes == 0


def test_ram_shows_models_on_the_cpu_first():
    on_cpu = replace(MODEL, gpu_bytes={}, cpu_bytes=100)
    segments = fill_ram(RamSample(total_bytes=1000, available_bytes=700), [on_cpu])
    assert sizes(segments) == [("weights", 100), ("other", 200)]


@given(
    used=st.integers(0, 1200),
    model=st.integers(0, 2000),
    other=st.integers(0, 2000),
    kv=st.integers(0, 2000),
    reserved=st.integers(0, 2000),
    baseline=st.integers(0, 2000),
)
def test_no_stretch_leaves_the_bar_whatever_the_claims(used, model, other, kv, reserved, baseline):
    gpu = replace(GPU, used_bytes=used)
    claimed = replace(MODEL, gpu_bytes={"GPU-1": model}, kv_bytes=kv)
    filling = fill(gpu, [claimed], {"python3": other}, [Promise("phi4", 1, reserved, baseline)])
    end = 0
    for segment in filling.segments:
        assert segment.offset_bytes == end
        assert segment.size_bytes > 0
        end += segment.size_bytes
    assert end <= gpu.total_bytes
    assert filling.unexplained_bytes >= 0
