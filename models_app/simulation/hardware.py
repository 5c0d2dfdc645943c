"""Simulated machines: GPUs with memory that fills and empties, processes that hold it, and RAM."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime

from models_app.probes.types import GpuProcess, GpuSample, GpuState, HostSample, RamSample
from models_app.simulation.devices import GIB, SimulatedGpu, SimulatedOutOfMemory, SimulatedProcess
from models_app.simulation.figures import power_milliwatts, temperature_celsius, utilization_percent

FIRST_PID = 2000


class SimulatedHost:
    """A machine and its own view of itself (``probes.types.Probe``). Every method may be called from any thread.

    The figures depend on ``seed``, on what was allocated and on the number of sweeps, never on the clock.
    """

    def __init__(
        self,
        name: str,
        gpus: list[SimulatedGpu],
        *,
        ram_total_bytes: int = 64 * GIB,
        driver_version: str = "580.95.05",
        seed: int = 0,
    ) -> None:
        self.name = name
        self.gpus = gpus
        self.ram_total_bytes = ram_total_bytes
        self._driver_version = driver_version
        self._seed = seed
        self._boot_id = f"{name}-{random.Random(f'{name}:{seed}').getrandbits(64):016x}"
        self._lock = threading.RLock()
        self._processes: dict[int, SimulatedProcess] = {}
        self._next_pid = FIRST_PID
        self._sequence = 0
        self._last: dict[int, GpuSample] = {}
        for index, gpu in enumerate(gpus):
            gpu.uuid = gpu.uuid or _uuid(name, index)

    def spawn(self, name: str, *, parent_pid: int | None = None, activity: float = 0.0) -> int:
        """Start a process without memory; returns its pid."""
        with self._lock:
            pid = self._next_pid
            self._next_pid += 1
            self._processes[pid] = SimulatedProcess(pid, name, parent_pid, time.time(), activity)
            return pid

    def allocate(self, pid: int, gpu_index: int, size_bytes: int) -> None:
        """Give a process VRAM. Raises ``SimulatedOutOfMemory``; ``KeyError`` for a process that has ended."""
        with self._lock:
            free_bytes = self.free_bytes(gpu_index)
            if size_bytes > free_bytes:
                raise SimulatedOutOfMemory(gpu_index, size_bytes, free_bytes)
            held = self._processes[pid].vram_bytes
            held[gpu_index] = held.get(gpu_index, 0) + size_bytes

    def allocate_ram(self, pid: int, size_bytes: int) -> None:
        """Give a process RAM. Raises ``SimulatedOutOfMemory``."""
        with self._lock:
            free_bytes = self.free_ram_bytes()
            if size_bytes > free_bytes:
                raise SimulatedOutOfMemory(None, size_bytes, free_bytes)
            self._processes[pid].ram_bytes += size_bytes

    def end(self, pid: int) -> None:
        """End a process and free what it held. A process that has ended already is no error."""
        with self._lock:
            self._processes.pop(pid, None)

    def shrink(self, pid: int, most_bytes: int) -> None:
        """Let a process give back all but ``most_bytes`` of each GPU, and its RAM."""
        with self._lock:
            if pid in self._processes:
                held = self._processes[pid]
                held.vram_bytes = {gpu: min(size, most_bytes) for gpu, size in held.vram_bytes.items()}
                held.ram_bytes = 0

    def set_activity(self, pid: int, activity: float) -> None:
        """Say how hard a process works its GPUs, from 0 to 1."""
        with self._lock:
            if pid in self._processes:
                self._processes[pid].activity = activity

    def is_alive(self, pid: int) -> bool:
        """Whether the process still runs."""
        with self._lock:
            return pid in self._processes

    def process(self, pid: int) -> SimulatedProcess:
        """A running process. Raises ``KeyError``."""
        with self._lock:
            return self._processes[pid]

    def used_bytes(self, gpu_index: int) -> int:
        """What all processes hold on a GPU together."""
        with self._lock:
            return sum(process.vram_bytes.get(gpu_index, 0) for process in self._processes.values())

    def free_bytes(self, gpu_index: int) -> int:
        """What could still be allocated on a GPU."""
        return self.gpus[gpu_index].usable_bytes - self.used_bytes(gpu_index)

    def free_ram_bytes(self) -> int:
        """What could still be allocated in RAM; the system itself takes a sixteenth."""
        with self._lock:
            held = sum(process.ram_bytes for process in self._processes.values())
            return self.ram_total_bytes - self.ram_total_bytes // 16 - held

    def sample(self) -> HostSample:
        """A fresh sweep."""
        with self._lock:
            self._sequence += 1
            gpus = tuple(self._sample_gpu(index) for index in range(len(self.gpus)))
            return HostSample(
                boot_id=self._boot_id,
                sequence=self._sequence,
                taken_at=datetime.now(UTC),
                gpus=gpus,
                ram=RamSample(self.ram_total_bytes, self.free_ram_bytes()),
                driver_version=self._driver_version if gpus else "",
                nvml_problem="" if gpus else "No NVIDIA driver on this machine.",
            )

    def close(self) -> None:
        """Nothing to release."""

    def _sample_gpu(self, index: int) -> GpuSample:
        gpu = self.gpus[index]
        if gpu.state is not GpuState.OK:
            return self._stale(index)
        used_bytes = self.used_bytes(index)
        utilization = utilization_percent(self._activity(index), index, self._sequence, self._seed)
        last = self._last.get(index)
        sample = GpuSample(
            uuid=gpu.uuid,
            index=index,
            name=gpu.name,
            pool=gpu.pool,
            total_bytes=gpu.total_bytes,
            driver_reserved_bytes=gpu.driver_reserved_bytes,
            used_bytes=used_bytes,
            free_bytes=gpu.usable_bytes - used_bytes,
            utilization_percent=utilization,
            temperature_celsius=temperature_celsius(utilization, last.temperature_celsius if last else None),
            power_milliwatts=power_milliwatts(gpu.power_limit_milliwatts, utilization),
            power_limit_milliwatts=gpu.power_limit_milliwatts,
            processes=self._gpu_processes(index) if gpu.lists_processes else None,
            detail=gpu.detail,
        )
        self._last[index] = sample
        return sample

    def _stale(self, index: int) -> GpuSample:
        gpu = self.gpus[index]
        last = self._last.get(index)
        if last is None or gpu.state is GpuState.LOST:
            return GpuSample(gpu.uuid, index, gpu.name, gpu.state, gpu.reason, gpu.pool, gpu.total_bytes)
        return replace(
            last,
            state=gpu.state,
            reason=gpu.reason,
            utilization_percent=None,
            temperature_celsius=None,
            power_milliwatts=None,
        )

    def _gpu_processes(self, index: int) -> tuple[GpuProcess, ...]:
        return tuple(
            GpuProcess(process.pid, process.vram_bytes[index], process.name, process.parent_pid, process.started_at)
            for process in self._processes.values()
            if index in process.vram_bytes
        )

    def _activity(self, index: int) -> float:
        return sum(process.activity for process in self._processes.values() if index in process.vram_bytes)


def _uuid(host: str, index: int) -> str:
    digits = f"{random.Random(f'{host}/{index}').getrandbits(128):032x}"
    return f"GPU-{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
