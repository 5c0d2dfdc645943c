"""Leaves out of samples what the panel knows already. The details of a GPU are half of a sample, and change slowly."""

from __future__ import annotations

from dataclasses import replace

from models_app.probes.types import GpuDetail, GpuSample, HostSample

REPEAT_SECONDS = 10.0


class Details:
    """What was told on this connection, by the GPU's UUID, and when, in monotonic seconds."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[GpuDetail, float]] = {}

    def forget(self) -> None:
        """Whoever listens now knows nothing yet."""
        self._told.clear()

    def thin(self, sample: HostSample, at: float) -> HostSample:
        """The sample without details that were told within ten seconds and differ at most in clocks and PCIe link."""
        return replace(sample, gpus=tuple(self._thin(gpu, at) for gpu in sample.gpus))

    def _thin(self, gpu: GpuSample, at: float) -> GpuSample:
        if gpu.detail is None:
            return gpu
        told, told_at = self._told.get(gpu.uuid, (None, 0.0))
        if told is not None and at - told_at < REPEAT_SECONDS and _steady(told) == _steady(gpu.detail):
            return replace(gpu, detail=None)
        self._told[gpu.uuid] = gpu.detail, at
        return gpu


def _steady(detail: GpuDetail) -> GpuDetail:
    """Without what changes with every load: the clocks, and the PCIe link, which rests when nothing is copied."""
    return replace(detail, graphics_clock_mhz=None, memory_clock_mhz=None, pcie_generation=None, pcie_width=None)
