"""The learned grade: pure figures in, an estimate out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_app.estimator.learned import LEAST_ERROR_BYTES, REMEMBERED, Measured, learned_estimate
from models_app.estimator.types import DeviceEstimate, DeviceKind, Estimate, Grade

MIB = 1024**2
GIB = 1024**3
HOST = DeviceEstimate("Host", DeviceKind.HOST_RAM, weights_bytes=300 * MIB)


def gpu(name: str = "GPU 0", kv_bytes: int = GIB) -> DeviceEstimate:
    return DeviceEstimate(name, DeviceKind.VRAM, 4 * GIB, kv_bytes, 0, 200 * MIB, 150 * MIB)


def estimate(*gpus: DeviceEstimate) -> Estimate:
    return Estimate(Grade.HEADER, "build", (*(gpus or (gpu(),)), HOST), 128 * MIB)


def measured(measured_bytes: int, context_length: int = 8192, kv_bytes: int = GIB) -> Measured:
    return Measured(context_length, measured_bytes, 5 * GIB, kv_bytes, 200 * MIB)


def test_without_an_earlier_load_the_estimate_stands() -> None:
    assert learned_estimate(estimate(), 8192, []) == estimate()


def test_the_median_of_the_same_context_is_the_estimate() -> None:
    past = [measured(size) for size in (5 * GIB, 6 * GIB, 20 * GIB)]
    learned = learned_estimate(estimate(), 8192, past)
    assert (learned.grade, learned.vram_bytes) == (Grade.LEARNED, 6 * GIB)
    assert learned.notes[-1] == "Learned from 3 measured loads."


def test_another_context_differs_by_the_kv_cache() -> None:
    learned = learned_estimate(estimate(gpu(kv_bytes=4 * GIB)), 32_768, [measured(6 * GIB)])
    assert learned.vram_bytes == 9 * GIB
    assert "another context" in learned.notes[-1]


def test_loads_of_the_same_context_count_before_others() -> None:
    past = [measured(9 * GIB, 4096), measured(6 * GIB)]
    assert learned_estimate(estimate(), 8192, past).vram_bytes == 6 * GIB


def test_the_band_shrinks_with_every_load_down_to_what_a_measurement_is_worth() -> None:
    bands = [learned_estimate(estimate(), 8192, [measured(6 * GIB)] * count).error_bytes for count in (1, 3, 8)]
    assert bands == sorted(bands, reverse=True)
    assert bands[0] < estimate().error_bytes
    assert bands[2] >= LEAST_ERROR_BYTES


def test_the_band_is_never_less_than_the_measurements_scatter() -> None:
    past = [measured(6 * GIB), measured(7 * GIB), measured(5 * GIB)]
    assert learned_estimate(estimate(), 8192, past).error_bytes == GIB


def test_only_the_latest_loads_count() -> None:
    past = [measured(6 * GIB)] * REMEMBERED + [measured(60 * GIB)] * 100
    assert learned_estimate(estimate(), 8192, past).vram_bytes == 6 * GIB


def test_host_ram_is_left_as_it_was() -> None:
    assert learned_estimate(estimate(), 8192, [measured(6 * GIB)]).devices[-1] == HOST


@pytest.mark.parametrize("size_bytes", [0, 1, 3 * GIB, 5 * GIB, 90 * GIB])
def test_the_terms_add_up_on_every_gpu(size_bytes: int) -> None:
    learned = learned_estimate(estimate(gpu(), gpu("GPU 1", 3 * GIB)), 8192, [measured(size_bytes)])
    assert learned.vram_bytes == size_bytes
    assert all(min(d.weights_bytes, d.kv_bytes, d.compute_bytes, d.overhead_bytes) >= 0 for d in learned.devices)


@given(st.lists(st.integers(0, 2**40), max_size=12), st.integers(0, 2**40))
def test_no_history_makes_a_term_negative_or_a_band_vanish(sizes: list[int], kv_bytes: int) -> None:
    past = [measured(size, context_length=1024, kv_bytes=kv_bytes) for size in sizes]
    learned = learned_estimate(estimate(), 8192, past)
    assert learned.vram_bytes >= 0
    assert learned.error_bytes >= LEAST_ERROR_BYTES
