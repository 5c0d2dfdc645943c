"""What a host reports, in words: only what is known."""

from __future__ import annotations

from datetime import UTC, datetime

from models_app.probes.types import (
    DiskSample,
    GpuDetail,
    GpuProcess,
    GpuSample,
    HostSample,
    MemoryPressure,
    MigInstance,
    RamSample,
)
from models_app.web.host_report import host_report

GIB = 2**30
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def said(sample: HostSample) -> dict[str, dict[str, str]]:
    return {section.title: dict(section.facts) for section in host_report(sample)}


def of_gpu(*processes: GpuProcess, **detail: object) -> dict[str, str]:
    gpu = GpuSample("GPU-1", 0, "NVIDIA H100", processes=processes, detail=GpuDetail(**detail))  # type: ignore[arg-type]
    return said(HostSample("boot", 1, NOON, (gpu,))).get("GPU 0", {})


def test_clocks_and_the_link_are_held_against_their_most() -> None:
    told = of_gpu(
        graphics_clock_mhz=900, graphics_clock_max_mhz=3105, clock_holds=("power cap",), pcie_width=8, pcie_width_max=16
    )
    assert told == {"Graphics clock": "900 of 3,105 MHz", "Clocks held by": "power cap", "PCIe lanes": "8 of 16"}


def test_ecc_compute_mode_and_mps_are_told() -> None:
    mps = GpuProcess(7, 1, "nvidia-cuda-mps-server")
    told = of_gpu(mps, ecc_is_on=True, ecc_corrected_count=3, compute_mode="exclusive process")
    assert told == {"ECC": "on, 3 corrected", "Compute mode": "exclusive process, with MPS"}
    assert of_gpu(ecc_is_on=False) == {"ECC": "off"}


def test_each_mig_instance_has_its_memory() -> None:
    parts = (MigInstance("MIG-a", "1g.12gb", 11 * GIB, GIB), MigInstance("MIG-b", ""))
    assert of_gpu(mig_is_on=True, mig_instances=parts) == {
        "MIG": "2 instances",
        "1g.12gb": "1.0 GiB of 11.0 GiB",
        "MIG-b": "– of –",
    }


def test_memory_and_disks_are_told_as_far_as_they_are_known() -> None:
    ram = RamSample(64 * GIB, 48 * GIB, 8 * GIB, GIB, 2 * GIB, 3 * GIB, pressure=MemoryPressure(12.5, 3))
    told = said(HostSample("boot", 1, NOON, ram=ram, disks=(DiskSample("/models", 100 * GIB, 40 * GIB),)))
    assert told == {
        "Memory": {
            "Available": "48.0 GiB of 64.0 GiB",
            "Swap in use": "1.0 GiB of 8.0 GiB",
            "Swapped since the start": "2.0 GiB in, 3.0 GiB out",
            "Waiting for memory": "12.5 % of the last minute, all tasks 3 %",
        },
        "Disks of models": {"/models": "40.0 GiB free of 100.0 GiB"},
    }


def test_a_host_that_tells_nothing_has_no_sections() -> None:
    assert host_report(HostSample("boot", 1, NOON, (GpuSample("GPU-1", 0, "x"),))) == ()
