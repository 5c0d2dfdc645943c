"""The parts of a simulated machine: GPUs, processes with their memory, and the refusal of an allocation."""

from __future__ import annotations

from dataclasses import dataclass, field

from models_app.probes.types import GpuDetail, GpuState, PoolKind

MIB = 1024**2
GIB = 1024**3


DETAIL = GpuDetail(
    graphics_clock_mhz=2520,
    graphics_clock_max_mhz=3105,
    memory_clock_mhz=10_501,
    memory_clock_max_mhz=10_501,
    pcie_generation=4,
    pcie_generation_max=4,
    pcie_width=16,
    pcie_width_max=16,
    compute_mode="default",
    mig_is_on=False,
)


class SimulatedOutOfMemory(Exception):
    """An allocation did not fit. ``device`` is the GPU's index, or ``None`` for the host's RAM."""

    def __init__(self, device: int | None, wanted_bytes: int, free_bytes: int) -> None:
        super().__init__(f"wanted {wanted_bytes} bytes on device {device}, {free_bytes} free")
        self.device = device
        self.wanted_bytes = wanted_bytes
        self.free_bytes = free_bytes


@dataclass(slots=True)
class SimulatedGpu:
    """One GPU. ``state`` and ``reason`` may be set while it runs; a GPU that is not ``OK`` repeats its last figures.

    ``lists_processes``: ``False`` is a driver in a container, which cannot tell who holds the memory.
    """

    name: str
    total_bytes: int
    driver_reserved_bytes: int = 400 * MIB
    power_limit_milliwatts: int = 450_000
    uuid: str = ""
    pool: PoolKind = PoolKind.VRAM
    state: GpuState = GpuState.OK
    reason: str = ""
    lists_processes: bool = True
    detail: GpuDetail = DETAIL

    @property
    def usable_bytes(self) -> int:
        """What processes may take together."""
        return self.total_bytes - self.driver_reserved_bytes


@dataclass(slots=True)
class SimulatedProcess:
    """A process with its memory. ``activity`` from 0 to 1 is how hard it works its GPUs."""

    pid: int
    name: str
    parent_pid: int | None
    started_at: float
    activity: float = 0.0
    vram_bytes: dict[int, int] = field(default_factory=dict)
    ram_bytes: int = 0
