"""What a machine can see of itself, as frozen values. Bytes are ints; times are UTC; a missing figure is ``None``."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Protocol

from msgspec import Meta

MPS_PROCESS = "nvidia-cuda-mps"

Whole = Annotated[int, Meta(ge=-(2**63 - 1), le=2**63 - 1)]
"""A whole number that a database can hold: heeded where a sample is read that came from elsewhere."""
Moment = Annotated[datetime, Meta(tz=True)]
"""A time with its zone."""


class GpuState(StrEnum):
    """Whether a GPU answers. Only ``OK`` samples carry figures that admission may use."""

    OK = "ok"
    LOST = "lost"
    """The driver says that it fell off the bus or needs a reset."""
    WEDGED = "wedged"
    """A driver call did not return in time; the last figures are stale."""
    ERROR = "error"


class PoolKind(StrEnum):
    """The kind of memory a device offers."""

    VRAM = "vram"
    UNIFIED = "unified"
    """Shared with the host (Apple, GB10): NVML's memory call is not supported; figures are the host's."""
    HOST_RAM = "host_ram"


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that holds VRAM. ``used_bytes`` is ``None`` where the driver does not say (MIG, containers, WSL)."""

    pid: Whole
    used_bytes: Whole | None
    name: str = ""
    parent_pid: Whole | None = None
    started_at: float | None = None
    """Seconds since the epoch: with the pid, the identity of a process."""


@dataclass(frozen=True, slots=True)
class MigInstance:
    """A part of a GPU that MIG offers as a device of its own."""

    uuid: str
    name: str
    total_bytes: Whole | None = None
    used_bytes: Whole | None = None


@dataclass(frozen=True, slots=True)
class GpuDetail:
    """What changes slowly or matters rarely; ``None`` and empty where the driver does not say.

    ``clock_holds`` are the reasons why the clocks are lower than they could be, in NVML's words. ECC errors are counted
    since the driver was loaded. ``compute_mode`` is ``default``, ``exclusive process`` or ``prohibited``.
    """

    graphics_clock_mhz: Whole | None = None
    graphics_clock_max_mhz: Whole | None = None
    memory_clock_mhz: Whole | None = None
    memory_clock_max_mhz: Whole | None = None
    clock_holds: tuple[str, ...] = ()
    ecc_is_on: bool | None = None
    ecc_corrected_count: Whole | None = None
    ecc_uncorrected_count: Whole | None = None
    pcie_generation: Whole | None = None
    pcie_generation_max: Whole | None = None
    pcie_width: Whole | None = None
    pcie_width_max: Whole | None = None
    compute_mode: str = ""
    mig_is_on: bool | None = None
    mig_instances: tuple[MigInstance, ...] = ()


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One GPU at one moment. Reserved, used and free bytes add up to total.

    ``used_bytes`` excludes ``driver_reserved_bytes``, except on drivers that do not tell them apart (reserved is 0 then).
    """

    uuid: str
    index: Whole
    name: str
    state: GpuState = GpuState.OK
    reason: str = ""
    pool: PoolKind = PoolKind.VRAM
    total_bytes: Whole = 0
    driver_reserved_bytes: Whole = 0
    used_bytes: Whole = 0
    free_bytes: Whole = 0
    utilization_percent: Whole | None = None
    temperature_celsius: Whole | None = None
    power_milliwatts: Whole | None = None
    power_limit_milliwatts: Whole | None = None
    processes: tuple[GpuProcess, ...] | None = ()
    """``None`` where the driver cannot list processes at all."""
    detail: GpuDetail | None = None

    @property
    def uses_mps(self) -> bool:
        """Whether CUDA's multi-process service stands between the programs and this GPU."""
        return any(process.name.startswith(MPS_PROCESS) for process in self.processes or ())


@dataclass(frozen=True, slots=True)
class MemoryPressure:
    """The share of the last minute, in percent, in which some task, or all of them, waited for memory (Linux's PSI)."""

    some_percent: float
    full_percent: float


@dataclass(frozen=True, slots=True)
class RamSample:
    """Host memory in bytes, as the kernel counts it.

    ``available_bytes`` is what a new process could get without swapping; ``cached_bytes`` is the page cache, which it
    includes. ``swapped_in_bytes`` and ``swapped_out_bytes`` count since the machine's start: while they rise, it swaps.
    """

    total_bytes: Whole
    available_bytes: Whole
    swap_total_bytes: Whole = 0
    swap_used_bytes: Whole = 0
    swapped_in_bytes: Whole = 0
    swapped_out_bytes: Whole = 0
    cached_bytes: Whole = 0
    huge_pages_total_bytes: Whole = 0
    huge_pages_free_bytes: Whole = 0
    pressure: MemoryPressure | None = None


@dataclass(frozen=True, slots=True)
class DiskSample:
    """The file system under a folder of models. ``free_bytes`` is what an unprivileged program may still write."""

    path: str
    total_bytes: Whole
    free_bytes: Whole


@dataclass(frozen=True, slots=True)
class Worker:
    """A process of a server: the model's name and the size of the file by its command line, if they say.

    ``ram_bytes`` is what it holds resident in host RAM. It differs from one sample to the next, and makes no other worker.
    """

    pid: Whole
    alias: str = ""
    file_bytes: Whole | None = None
    ram_bytes: Whole | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ServerProcesses:
    """The processes of one server, those without VRAM too.

    ``endpoint`` is its name in an agent's configuration, empty on the panel's own host.
    """

    endpoint: str
    server_pid: Whole
    workers: tuple[Worker, ...] = ()


@dataclass(frozen=True, slots=True)
class HostSample:
    """Everything one probe saw in one sweep. ``(boot_id, sequence)`` identifies it; ``sequence`` rises by one per sweep."""

    boot_id: str
    sequence: Whole
    taken_at: Moment
    gpus: tuple[GpuSample, ...] = ()
    ram: RamSample | None = None
    disks: tuple[DiskSample, ...] = ()
    driver_version: str = ""
    nvml_problem: str = ""
    """Why GPU information is missing, wholly or for some GPU, in a sentence; empty when NVML works."""
    servers: tuple[ServerProcesses, ...] = ()
    """Of the servers that an agent offers; elsewhere the panel finds them itself."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A server process found on this machine that may be an Ollama or a llama-server."""

    port: int
    pid: int | None
    process_name: str


class Probe(Protocol):
    """A machine's own view of itself. Handles are opened once; no call blocks for longer than its deadline."""

    def sample(self) -> HostSample:
        """A fresh sweep of every GPU and the host's RAM. Never raises; a failure is a state in the sample."""

    def close(self) -> None:
        """Release the driver."""
