"""One GPU read through NVML, each figure by itself: an unsupported call costs that figure and no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

import psutil
import pynvml

from models_app.probes.memory import sample_ram
from models_app.probes.types import GpuProcess, GpuSample, PoolKind

T = TypeVar("T")

nvml: Any = pynvml
"""The binding, whose functions and generated exception classes carry no types."""

LOST_CODES = frozenset({nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED})
_UNKNOWN_VERSION_CODES = frozenset(
    {
        nvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        nvml.NVML_ERROR_NOT_SUPPORTED,
        nvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    }
)


def read_gpu(handle: Any, blank: GpuSample) -> GpuSample:
    """``blank`` with the figures of this moment, in at most nine driver calls on a current driver.

    Raises NVMLError when the GPU is lost or its memory cannot be read; any other missing figure is ``None``.
    """
    utilization = optional(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    return replace(
        _with_memory(handle, blank),
        utilization_percent=None if utilization is None else utilization.gpu,
        temperature_celsius=optional(
            lambda: nvml.nvmlDeviceGetTemperatureV(handle, nvml.NVML_TEMPERATURE_GPU),
            lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
        ),
        power_milliwatts=optional(lambda: nvml.nvmlDeviceGetPowerUsage(handle)),
        power_limit_milliwatts=optional(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle)),
        processes=_processes(handle),
    )


def optional(*versions: Callable[[], T]) -> T | None:
    """The answer of the first version that the driver knows, or ``None``. Raises NVMLError when the GPU is lost."""
    for call in versions:
        try:
            return call()
        except nvml.NVMLError as error:
            if error.value in LOST_CODES:
                raise
    return None


def _with_memory(handle: Any, blank: GpuSample) -> GpuSample:
    try:
        memory = _memory_info(handle)
    except nvml.NVMLError as error:
        if error.value != nvml.NVML_ERROR_NOT_SUPPORTED:
            raise
        return _with_unified_memory(blank)
    return replace(
        blank,
        total_bytes=memory.total,
        driver_reserved_bytes=getattr(memory, "reserved", 0),
        used_bytes=memory.used,
        free_bytes=memory.free,
    )


def _memory_info(handle: Any) -> Any:
    """Memory v2, or v1 on drivers before R510, where ``used`` includes what the driver reserves."""
    try:
        return nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
    except nvml.NVMLError as error:
        if error.value not in _UNKNOWN_VERSION_CODES:
            raise
    return nvml.nvmlDeviceGetMemoryInfo(handle)


def _with_unified_memory(blank: GpuSample) -> GpuSample:
    ram = sample_ram()
    return replace(
        blank,
        pool=PoolKind.UNIFIED,
        total_bytes=ram.total_bytes,
        used_bytes=ram.total_bytes - ram.available_bytes,
        free_bytes=ram.available_bytes,
    )


def _processes(handle: Any) -> tuple[GpuProcess, ...] | None:
    compute = optional(
        lambda: nvml.nvmlDeviceGetComputeRunningProcesses_v3(handle),
        lambda: nvml.nvmlDeviceGetComputeRunningProcesses_v2(handle),
    )
    if compute is None:
        return None
    graphics = optional(
        lambda: nvml.nvmlDeviceGetGraphicsRunningProcesses_v3(handle),
        lambda: nvml.nvmlDeviceGetGraphicsRunningProcesses_v2(handle),
    )
    used_bytes = _used_bytes_by_pid([*compute, *(graphics or ())])
    return tuple(_describe(pid, used) for pid, used in used_bytes.items())


def _used_bytes_by_pid(entries: Iterable[Any]) -> dict[int, int | None]:
    """A process that computes and draws is in both lists with its whole memory: it counts once."""
    used_bytes: dict[int, int | None] = {}
    for entry in entries:
        figures = [figure for figure in (used_bytes.get(entry.pid), entry.usedGpuMemory) if figure is not None]
        used_bytes[entry.pid] = max(figures, default=None)
    return used_bytes


def _describe(pid: int, used_bytes: int | None) -> GpuProcess:
    """The process as this machine knows it; a bare pid when it has gone or belongs to another namespace."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            return GpuProcess(pid, used_bytes, process.name(), process.ppid(), process.create_time())
    except psutil.Error:
        return GpuProcess(pid, used_bytes)
