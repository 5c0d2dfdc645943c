"""What a GPU says of itself that changes slowly: clocks and what holds them, ECC, its link, MIG, who may compute on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models_app.probes.gpu import nvml, optional
from models_app.probes.types import GpuDetail, MigInstance

HOLDS = {
    nvml.nvmlClocksEventReasonSwPowerCap: "power cap",
    nvml.nvmlClocksThrottleReasonHwSlowdown: "hardware slowdown",
    nvml.nvmlClocksEventReasonSyncBoost: "sync boost",
    nvml.nvmlClocksEventReasonSwThermalSlowdown: "thermal slowdown",
    nvml.nvmlClocksThrottleReasonHwThermalSlowdown: "hardware thermal slowdown",
    nvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown: "power brake",
    nvml.nvmlClocksEventReasonApplicationsClocksSetting: "clocks set by an administrator",
}
"""Reasons other than that nothing runs, in words. Source: ``nvmlClocksEventReasons`` in nvml.h."""
COMPUTE_MODES = {0: "default", 1: "exclusive thread", 2: "prohibited", 3: "exclusive process"}


def read_detail(handle: Any) -> GpuDetail:
    """Every figure by itself: one that is not supported is missing alone. Raises NVMLError when the GPU is lost."""
    ecc = optional(lambda: nvml.nvmlDeviceGetEccMode(handle))
    mig = optional(lambda: nvml.nvmlDeviceGetMigMode(handle))
    return GpuDetail(
        graphics_clock_mhz=optional(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_GRAPHICS)),
        graphics_clock_max_mhz=optional(lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_GRAPHICS)),
        memory_clock_mhz=optional(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
        memory_clock_max_mhz=optional(lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_MEM)),
        clock_holds=_holds(handle),
        ecc_is_on=None if ecc is None else bool(ecc[0]),
        ecc_corrected_count=_ecc_errors(handle, nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED) if ecc and ecc[0] else None,
        ecc_uncorrected_count=_ecc_errors(handle, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED) if ecc and ecc[0] else None,
        pcie_generation=optional(lambda: nvml.nvmlDeviceGetCurrPcieLinkGeneration(handle)),
        pcie_generation_max=optional(lambda: nvml.nvmlDeviceGetMaxPcieLinkGeneration(handle)),
        pcie_width=optional(lambda: nvml.nvmlDeviceGetCurrPcieLinkWidth(handle)),
        pcie_width_max=optional(lambda: nvml.nvmlDeviceGetMaxPcieLinkWidth(handle)),
        compute_mode=_compute_mode(handle),
        mig_is_on=None if mig is None else bool(mig[0]),
        mig_instances=tuple(_instances(handle)) if mig and mig[0] else (),
    )


def _holds(handle: Any) -> tuple[str, ...]:
    """Drivers before R535 know the call by its old name."""
    reasons = optional(
        lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle),
        lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
    )
    return tuple(words for bit, words in HOLDS.items() if (reasons or 0) & bit)


def _ecc_errors(handle: Any, kind: int) -> int | None:
    return optional(lambda: nvml.nvmlDeviceGetTotalEccErrors(handle, kind, nvml.NVML_VOLATILE_ECC))


def _compute_mode(handle: Any) -> str:
    mode = optional(lambda: nvml.nvmlDeviceGetComputeMode(handle))
    return "" if mode is None else COMPUTE_MODES.get(mode, f"mode {mode}")


def _instances(handle: Any) -> Iterator[MigInstance]:
    for index in range(optional(lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(handle)) or 0):
        part = optional(lambda index=index: nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))  # type: ignore[misc]
        if part is not None:
            yield _instance(part)


def _instance(part: Any) -> MigInstance:
    memory = optional(lambda: nvml.nvmlDeviceGetMemoryInfo(part))
    return MigInstance(
        uuid=optional(lambda: nvml.nvmlDeviceGetUUID(part)) or "",
        name=optional(lambda: nvml.nvmlDeviceGetName(part)) or "",
        total_bytes=None if memory is None else memory.total,
        used_bytes=None if memory is None else memory.used,
    )
