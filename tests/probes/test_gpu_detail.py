"""What a GPU says rarely: each figure by itself, read now and then, and never in the way of the others."""

from __future__ import annotations

import pytest

from models_app.probes.nvml import NvmlGpus
from models_app.probes.open_gpu import DETAIL_SECONDS
from models_app.probes.types import GpuDetail, GpuState, MigInstance
from tests.fixtures.nvml import NvmlStub
from tests.probes.conftest import Clock

MIB = 2**20
EVERYTHING = {
    "clock_graphics": 2520,
    "max_clock_graphics": 3105,
    "clock_mem": 10501,
    "max_clock_mem": 10501,
    "clock_reasons": 0x4 | 0x40,
    "ecc": 1,
    "ecc_corrected": 3,
    "ecc_uncorrected": 0,
    "pcie_gen": 3,
    "max_pcie_gen": 4,
    "pcie_width": 8,
    "max_pcie_width": 16,
    "compute_mode": 3,
    "mig": 0,
}


def detail(gpus: NvmlGpus) -> GpuDetail:
    [gpu] = gpus.sweep().gpus
    assert gpu.detail is not None
    return gpu.detail


def test_every_detail_is_read(nvml_stub: NvmlStub, gpus: NvmlGpus) -> None:
    nvml_stub.set(count=1, gpu0=EVERYTHING)
    assert detail(gpus) == GpuDetail(
        graphics_clock_mhz=2520,
        graphics_clock_max_mhz=3105,
        memory_clock_mhz=10501,
        memory_clock_max_mhz=10501,
        clock_holds=("power cap", "hardware thermal slowdown"),
        ecc_is_on=True,
        ecc_corrected_count=3,
        ecc_uncorrected_count=0,
        pcie_generation=3,
        pcie_generation_max=4,
        pcie_width=8,
        pcie_width_max=16,
        compute_mode="exclusive process",
        mig_is_on=False,
    )


def test_a_gpu_that_supports_none_of_it_has_its_figures(nvml_stub: NvmlStub, gpus: NvmlGpus) -> None:
    nvml_stub.set(count=1, gpu0={"util": 37})
    [gpu] = gpus.sweep().gpus
    assert (gpu.state, gpu.utilization_percent, gpu.detail) == (GpuState.OK, 37, GpuDetail())


@pytest.mark.parametrize(
    ("function", "missing"),
    [
        ("nvmlDeviceGetMaxClockInfo", {"graphics_clock_max_mhz": None, "memory_clock_max_mhz": None}),
        ("nvmlDeviceGetEccMode", {"ecc_is_on": None, "ecc_corrected_count": None, "ecc_uncorrected_count": None}),
        ("nvmlDeviceGetCurrPcieLinkWidth", {"pcie_width": None}),
        ("nvmlDeviceGetComputeMode", {"compute_mode": ""}),
        ("nvmlDeviceGetMigMode", {"mig_is_on": None}),
    ],
)
def test_what_is_not_supported_is_missing_alone(nvml_stub, gpus, clock, function, missing) -> None:
    nvml_stub.set(count=1, gpu0=EVERYTHING)
    whole = detail(gpus)
    nvml_stub.set(count=1, gpu0=EVERYTHING | {f"error.{function}": 3})
    clock.now += DETAIL_SECONDS
    partial = detail(gpus)
    assert {name for name in GpuDetail.__slots__ if getattr(whole, name) != getattr(partial, name)} == set(missing)


def test_an_older_driver_tells_by_the_older_call_what_holds_the_clocks(nvml_stub: NvmlStub, gpus: NvmlGpus) -> None:
    nvml_stub.set(count=1, gpu0={"clock_reasons": 0x8, "old_reasons": 1})
    assert detail(gpus).clock_holds == ("hardware slowdown",)


def test_an_idle_gpus_clocks_are_not_held(nvml_stub: NvmlStub, gpus: NvmlGpus) -> None:
    nvml_stub.set(count=1, gpu0={"clock_reasons": 0x1})
    assert detail(gpus).clock_holds == ()


def test_mig_instances_are_listed_with_their_memory(nvml_stub: NvmlStub, gpus: NvmlGpus) -> None:
    parts = {
        "mig0.uuid": "MIG-a",
        "mig0.name": "NVIDIA H100 MIG 1g.12gb",
        "mig0.total_mb": 11264,
        "mig0.reserved_mb": 0,
        "mig0.used_mb": 10,
        "mig2.uuid": "MIG-b",
        "mig2.error.nvmlDeviceGetMemoryInfo": 3,
    }
    nvml_stub.set(count=1, gpu0={"mig": 1, "mig_most": 7} | parts)
    first, second = detail(gpus).mig_instances
    assert first == MigInstance("MIG-a", "NVIDIA H100 MIG 1g.12gb", 11264 * MIB, 10 * MIB)
    assert (second.uuid, second.total_bytes) == ("MIG-b", None)


def test_details_are_read_only_now_and_then(nvml_stub: NvmlStub, gpus: NvmlGpus, clock: Clock) -> None:
    nvml_stub.set(count=1, gpu0=EVERYTHING)
    before = detail(gpus)
    nvml_stub.set(count=1, gpu0=EVERYTHING | {"clock_graphics": 210})
    nvml_stub.take_calls()
    assert detail(gpus) == before
    assert not any("Clock" in call for call in nvml_stub.take_calls())
    clock.now += DETAIL_SECONDS
    assert detail(gpus).graphics_clock_mhz == 210


def test_a_detail_that_fails_leaves_the_figures_and_comes_back(nvml_stub, gpus, clock) -> None:
    nvml_stub.set(count=1, gpu0=EVERYTHING | {"error.nvmlDeviceGetEccMode": 15, "util": 5})
    [gpu] = gpus.sweep().gpus
    assert (gpu.state, gpu.utilization_percent, gpu.detail) == (GpuState.OK, 5, None)
    nvml_stub.set(count=1, gpu0=EVERYTHING)
    clock.now += DETAIL_SECONDS
    assert detail(gpus).ecc_is_on


def test_a_detail_that_hangs_costs_one_deadline_and_no_figure(nvml_stub: NvmlStub, clock: Clock) -> None:
    gpus = NvmlGpus(deadline_seconds=0.3, clock=clock)
    nvml_stub.set(count=1, gpu0=EVERYTHING | {"hang.nvmlDeviceGetEccMode": 1, "util": 5})
    for _ in range(3):
        [gpu] = gpus.sweep().gpus
        assert (gpu.state, gpu.utilization_percent, gpu.detail) == (GpuState.OK, 5, None)
        clock.now += DETAIL_SECONDS
    nvml_stub.set(count=1, gpu0=EVERYTHING)
    gpus.close()
