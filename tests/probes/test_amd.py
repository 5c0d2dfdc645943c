"""AMD GPUs from a folder that looks like the kernel's sysfs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from models_app.probes.amd import AmdGpus, rocm_name
from models_app.probes.disks import ModelDisks
from models_app.probes.host import LocalProbe
from models_app.probes.nvml import NvmlGpus
from models_app.probes.types import GpuState

GIB = 2**30
CARD = {
    "vendor": "0x1002",
    "device": "0x744c",
    "product_name": "Radeon RX 7900 XTX",
    "unique_id": "a1b2c3d4e5f60718",
    "mem_info_vram_total": str(24 * GIB),
    "mem_info_vram_used": str(3 * GIB),
    "gpu_busy_percent": "42",
    "current_link_speed": "16.0 GT/s PCIe",
    "max_link_speed": "16.0 GT/s PCIe",
    "current_link_width": "8",
    "max_link_width": "16",
    "hwmon/hwmon3/temp1_input": "61000",
    "hwmon/hwmon3/power1_average": "212000000",
    "hwmon/hwmon3/power1_cap": "339000000",
    "hwmon/hwmon3/freq1_input": "2480000000",
    "hwmon/hwmon3/freq2_input": "1249000000",
}
Machine = Callable[..., Path]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Makes a sysfs with these cards, each by what differs; ``None`` leaves a file out."""

    def make(*cards: dict[str, str | None]) -> Path:
        for number, different in enumerate(cards):
            for name, text in (CARD | different).items():
                path = tmp_path / f"class/drm/card{number}/device" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                if text is not None:
                    path.write_text(f"{text}\n")
        return tmp_path

    return make


def test_a_card_tells_its_figures(machine: Machine) -> None:
    [gpu] = AmdGpus(machine({})).sweep()
    assert (gpu.uuid, gpu.name, gpu.state) == ("AMD-a1b2c3d4e5f60718", "Radeon RX 7900 XTX", GpuState.OK)
    assert (gpu.total_bytes, gpu.used_bytes, gpu.free_bytes) == (24 * GIB, 3 * GIB, 21 * GIB)
    assert (gpu.utilization_percent, gpu.temperature_celsius) == (42, 61)
    assert (gpu.power_milliwatts, gpu.power_limit_milliwatts) == (212_000, 339_000)
    assert gpu.processes is None
    assert gpu.detail is not None
    assert (gpu.detail.graphics_clock_mhz, gpu.detail.memory_clock_mhz) == (2480, 1249)
    assert (gpu.detail.pcie_generation, gpu.detail.pcie_width, gpu.detail.pcie_width_max) == (4, 8, 16)


@pytest.mark.parametrize("name", sorted(set(CARD) - {"vendor", "mem_info_vram_total", "mem_info_vram_used"}))
def test_a_file_that_is_missing_costs_its_figure_and_no_other(machine: Machine, name: str) -> None:
    [gpu] = AmdGpus(machine({name: None})).sweep()
    assert (gpu.state, gpu.used_bytes) == (GpuState.OK, 3 * GIB)
    assert gpu.uuid
    assert gpu.name


def test_used_memory_that_cannot_be_read_is_an_error(machine: Machine) -> None:
    [gpu] = AmdGpus(machine({"mem_info_vram_used": None})).sweep()
    assert gpu.state is GpuState.ERROR
    assert gpu.reason


def test_nonsense_in_a_file_is_a_missing_figure(machine: Machine) -> None:
    [gpu] = AmdGpus(machine({"gpu_busy_percent": "n/a", "current_link_speed": "Unknown", "unique_id": None})).sweep()
    assert gpu.detail is not None
    assert (gpu.utilization_percent, gpu.detail.pcie_generation, gpu.uuid) == (None, None, "AMD-card0")


def test_a_card_without_a_serial_number_is_known_by_its_place(machine: Machine) -> None:
    slot = "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:03:00.0"
    [gpu] = AmdGpus(machine({"unique_id": None, "uevent": slot})).sweep()
    assert gpu.uuid == "AMD-0000:03:00.0"


def test_cards_of_other_makers_and_without_vram_are_left_out(machine: Machine) -> None:
    root = machine({"vendor": "0x8086"}, {"mem_info_vram_total": None}, {"mem_info_vram_total": "0"}, {})
    (root / "class/drm/card3-DP-1").mkdir()
    assert [gpu.index for gpu in AmdGpus(root).sweep(2)] == [2]


def test_a_machine_without_such_a_folder_has_none(tmp_path: Path) -> None:
    assert AmdGpus(tmp_path / "missing").sweep() == ()


def test_they_come_after_the_other_gpus_and_silence_the_missing_driver(machine: Machine, nvml_stub) -> None:
    disks = ModelDisks(lambda: ())
    nvml_stub.set(count=2)
    probe = LocalProbe(NvmlGpus(deadline_seconds=30), AmdGpus(machine({})), disks)
    assert [gpu.index for gpu in probe.sample().gpus] == [0, 1, 2]
    probe.close()
    nvml_stub.unload_driver()
    alone = LocalProbe(NvmlGpus(deadline_seconds=30), AmdGpus(machine({})), disks).sample()
    assert ([gpu.index for gpu in alone.gpus], alone.nvml_problem) == ([0], "")


def test_rocm_calls_a_card_by_its_serial_number_else_by_its_number_among_the_cards(tmp_path: Path) -> None:
    nodes = {
        0: "cpu_cores_count 16\nsimd_count 0\nlocation_id 0\ndomain 0\n",
        1: "cpu_cores_count 0\nsimd_count 96\nlocation_id 768\ndomain 0\n",
        10: "cpu_cores_count 0\nsimd_count 96\nlocation_id 33561\ndomain 1\n",
    }
    for number, text in nodes.items():
        path = tmp_path / f"class/kfd/kfd/topology/nodes/{number}/properties"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert rocm_name("AMD-a1b2c3d4e5f60718", tmp_path) == "GPU-a1b2c3d4e5f60718"
    assert rocm_name("AMD-0000:03:00.0", tmp_path) == "0"
    assert rocm_name("AMD-0001:83:03.1", tmp_path) == "1"
    assert rocm_name("AMD-0000:04:00.0", tmp_path) is None
