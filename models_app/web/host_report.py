"""What a host reports besides what the Fleet page shows, in words: for the Hosts page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from models_app.probes.types import GpuDetail, GpuSample, HostSample, RamSample
from models_app.web.templatetags.berth import in_bytes


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with terms and their figures."""

    title: str
    facts: tuple[tuple[str, str], ...]


def host_report(sample: HostSample) -> tuple[Section, ...]:
    """Every GPU that tells details, memory, and the disks of models; only what is known."""
    sections = [Section(f"GPU {gpu.index}", tuple(_gpu(gpu, gpu.detail))) for gpu in sample.gpus if gpu.detail]
    if sample.ram:
        sections.append(Section("Memory", tuple(_ram(sample.ram))))
    if sample.disks:
        disks = ((disk.path, f"{in_bytes(disk.free_bytes)} free of {in_bytes(disk.total_bytes)}") for disk in sample.disks)
        sections.append(Section("Disks of models", tuple(disks)))
    return tuple(section for section in sections if section.facts)


def _gpu(gpu: GpuSample, detail: GpuDetail) -> Iterator[tuple[str, str]]:
    if detail.graphics_clock_mhz is not None:
        yield "Graphics clock", _of(detail.graphics_clock_mhz, detail.graphics_clock_max_mhz, " MHz")
    if detail.memory_clock_mhz is not None:
        yield "Memory clock", _of(detail.memory_clock_mhz, detail.memory_clock_max_mhz, " MHz")
    if detail.clock_holds:
        yield "Clocks held by", ", ".join(detail.clock_holds)
    if detail.pcie_generation is not None:
        yield "PCIe generation", _of(detail.pcie_generation, detail.pcie_generation_max)
    if detail.pcie_width is not None:
        yield "PCIe lanes", _of(detail.pcie_width, detail.pcie_width_max)
    if detail.ecc_is_on is not None:
        yield "ECC", _ecc(detail)
    if detail.compute_mode:
        yield "Compute mode", detail.compute_mode + (", with MPS" if gpu.uses_mps else "")
    if detail.mig_is_on:
        yield "MIG", f"{len(detail.mig_instances)} instances"
    for part in detail.mig_instances:
        yield part.name or part.uuid, f"{in_bytes(part.used_bytes)} of {in_bytes(part.total_bytes)}"


def _ecc(detail: GpuDetail) -> str:
    if not detail.ecc_is_on:
        return "off"
    counts = ((detail.ecc_corrected_count, "corrected"), (detail.ecc_uncorrected_count, "uncorrected"))
    told = ", ".join(f"{count} {kind}" for count, kind in counts if count is not None)
    return f"on, {told}" if told else "on"


def _of(value: int, most: int | None, unit: str = "") -> str:
    return f"{value:,}{unit}" if most is None else f"{value:,} of {most:,}{unit}"


def _ram(ram: RamSample) -> Iterator[tuple[str, str]]:
    yield "Available", f"{in_bytes(ram.available_bytes)} of {in_bytes(ram.total_bytes)}"
    if ram.cached_bytes:
        yield "Page cache", in_bytes(ram.cached_bytes)
    if ram.swap_total_bytes:
        yield "Swap in use", f"{in_bytes(ram.swap_used_bytes)} of {in_bytes(ram.swap_total_bytes)}"
        yield "Swapped since the start", f"{in_bytes(ram.swapped_in_bytes)} in, {in_bytes(ram.swapped_out_bytes)} out"
    if ram.pressure:
        pressure = ram.pressure
        yield "Waiting for memory", f"{pressure.some_percent:g} % of the last minute, all tasks {pressure.full_percent:g} %"
    if ram.huge_pages_total_bytes:
        yield "Huge pages", f"{in_bytes(ram.huge_pages_free_bytes)} free of {in_bytes(ram.huge_pages_total_bytes)}"
