"""The process that holds a loaded model, and the load that fills its memory step by step."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from models_app.simulation.devices import MIB, SimulatedOutOfMemory
from models_app.simulation.faults import Fault, Faults
from models_app.simulation.hardware import SimulatedHost
from models_app.simulation.memory import Placement

LEAKED_BYTES = 192 * MIB


@dataclass(slots=True)
class Timing:
    """How fast the simulated machines are; may change while they run. The defaults suit tests, ``realistic`` people."""

    load_bytes_per_second: float = 400e9
    shortest_load_seconds: float = 0.02
    release_seconds: float = 0.01
    """From the acknowledgement of an unload until the memory is free."""
    pull_bytes_per_second: float = 400e9
    token_seconds: float = 0.0

    @classmethod
    def realistic(cls, speed: float = 1.0) -> Timing:
        """A fast NVMe disk and a busy driver, ``speed`` times as fast as in reality."""
        timing = cls()
        timing.become_realistic(speed)
        return timing

    def become_realistic(self, speed: float = 1.0) -> None:
        """Change to the pace of ``realistic``."""
        self.load_bytes_per_second = 2.5e9 * speed
        self.shortest_load_seconds = 1.2 / speed
        self.release_seconds = 0.9 / speed
        self.pull_bytes_per_second = 110e6 * speed
        self.token_seconds = 0.02 / speed

    def load_seconds(self, size_bytes: int) -> float:
        """How long a load of that size takes."""
        return max(self.shortest_load_seconds, size_bytes / self.load_bytes_per_second)


class RunnerDied(Exception):
    """The runner was killed during a load."""


async def fill(host: SimulatedHost, pid: int, placement: Placement, seconds: float, faults: Faults) -> None:
    """Take the memory of ``placement`` for ``pid`` over ``seconds``; ends the process where that fails or is cancelled.

    Raises ``SimulatedOutOfMemory`` and ``RunnerDied``.
    """
    try:
        if faults.take(Fault.OUT_OF_MEMORY):
            raise SimulatedOutOfMemory(0, placement.vram_bytes, 0)
        await _fill(host, pid, placement, seconds, faults)
    except BaseException:
        host.end(pid)
        raise


async def _fill(host: SimulatedHost, pid: int, placement: Placement, seconds: float, faults: Faults) -> None:
    steps = placement.steps()
    host.allocate_ram(pid, placement.ram_bytes)
    for number, step in enumerate(steps):
        if number == len(steps) // 2:
            await _misbehave_half_way(faults)
        for gpu, size_bytes in step.items():
            _allocate(host, pid, gpu, size_bytes)
        await asyncio.sleep(seconds / len(steps))
    if not host.is_alive(pid):
        raise RunnerDied


async def _misbehave_half_way(faults: Faults) -> None:
    if faults.take(Fault.DIE_WHILE_LOADING):
        raise RunnerDied
    if faults.take(Fault.STALL_LOAD):
        await asyncio.Event().wait()


def _allocate(host: SimulatedHost, pid: int, gpu: int, size_bytes: int) -> None:
    try:
        host.allocate(pid, gpu, size_bytes)
    except KeyError as error:
        raise RunnerDied from error


async def release(host: SimulatedHost, pid: int, seconds: float, faults: Faults) -> None:
    """Let a process end after ``seconds``; ``HOLD_MEMORY`` lets it live on with all it holds, ``LEAK`` with a part."""
    await asyncio.sleep(seconds)
    if faults.take(Fault.LEAK):
        host.shrink(pid, LEAKED_BYTES)
    elif not faults.take(Fault.HOLD_MEMORY):
        host.end(pid)


def out_of_memory_text(error: SimulatedOutOfMemory) -> str:
    """The last lines of llama.cpp's log when an allocation fails."""
    if error.device is None:
        return (
            f"ggml_aligned_malloc: insufficient memory (attempted to allocate {error.wanted_bytes / 1024**2:.2f} MB)\n"
            f"ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size {error.wanted_bytes}\n"
            f"alloc_tensor_range: failed to allocate CPU buffer of size {error.wanted_bytes}\n"
            "llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache"
        )
    return (
        f"ggml_backend_cuda_buffer_type_alloc_buffer: allocating {error.wanted_bytes / 1024**2:.2f} MiB "
        f"on device {error.device}: cudaMalloc failed: out of memory\n"
        f"alloc_tensor_range: failed to allocate CUDA{error.device} buffer of size {error.wanted_bytes}"
    )
