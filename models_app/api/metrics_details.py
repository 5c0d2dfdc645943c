"""The metrics of what changes slowly: clocks, errors, links, pressure, disks; and of alerts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from django.db.models import Count
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from models_app.alerts.models import Alert
from models_app.inventory.models import Gpu
from models_app.probes.types import GpuDetail, HostSample
from models_app.telemetry.latest import Latest

GPU = ("host", "gpu", "uuid")


def gpu_details(gpus: Iterable[Gpu], latest: Mapping[int, Latest]) -> Iterator[Metric]:
    """Of every GPU whose host's sample is fresh."""
    families = _GpuDetails()
    for gpu in gpus:
        found = latest.get(gpu.host_id)
        sample = found.gpu(gpu.uuid) if found and not found.is_stale else None
        if sample and sample.detail:
            families.add([gpu.host.name, str(gpu.index), gpu.uuid], sample.detail)
    return iter(families.all)


class _GpuDetails:
    def __init__(self) -> None:
        self.clock = GaugeMetricFamily("berth_gpu_clock_hertz", "Clock of the GPU.", labels=[*GPU, "clock"])
        self.held = GaugeMetricFamily(
            "berth_gpu_clock_held", "1 for each reason that holds the clocks.", labels=[*GPU, "reason"]
        )
        self.errors = CounterMetricFamily(
            "berth_gpu_ecc_errors", "ECC errors since the driver's start.", labels=[*GPU, "kind"]
        )
        self.generation = GaugeMetricFamily("berth_gpu_pcie_link_generation", "PCIe generation in use.", labels=GPU)
        self.width = GaugeMetricFamily("berth_gpu_pcie_link_width", "PCIe lanes in use.", labels=GPU)
        self.all: tuple[Metric, ...] = (self.clock, self.held, self.errors, self.generation, self.width)

    def add(self, labels: list[str], detail: GpuDetail) -> None:
        """Add what is known; the rest is left out."""
        for clock, mhz in (("graphics", detail.graphics_clock_mhz), ("memory", detail.memory_clock_mhz)):
            if mhz is not None:
                self.clock.add_metric([*labels, clock], mhz * 1e6)
        for reason in detail.clock_holds:
            self.held.add_metric([*labels, reason], 1)
        errors = (("corrected", detail.ecc_corrected_count), ("uncorrected", detail.ecc_uncorrected_count))
        for kind, count in errors:
            if count is not None:
                self.errors.add_metric([*labels, kind], count)
        if detail.pcie_generation is not None:
            self.generation.add_metric(labels, detail.pcie_generation)
        if detail.pcie_width is not None:
            self.width.add_metric(labels, detail.pcie_width)


def host_details(samples: Mapping[str, HostSample]) -> Iterator[Metric]:
    """Of every host by its name: page cache, swapping, pressure, huge pages, disks of models."""
    families = _HostDetails()
    for name, sample in samples.items():
        families.add(name, sample)
    return iter(families.all)


class _HostDetails:
    def __init__(self) -> None:
        self.cached = GaugeMetricFamily("berth_host_memory_cached_bytes", "Page cache of the host.", labels=["host"])
        self.swapped = CounterMetricFamily(
            "berth_host_swapped_bytes", "Swapped since the start.", labels=["host", "direction"]
        )
        self.pressure = GaugeMetricFamily(
            "berth_host_memory_pressure_ratio",
            "Share of the last minute in which some task, or all (full), waited for memory.",
            labels=["host", "kind"],
        )
        self.pages = GaugeMetricFamily("berth_host_huge_pages_bytes", "Huge pages of the host.", labels=["host", "state"])
        self.disk = GaugeMetricFamily(
            "berth_host_disk_size_bytes", "File system of a folder of models.", labels=["host", "path"]
        )
        self.disk_free = GaugeMetricFamily("berth_host_disk_free_bytes", "What is free on it.", labels=["host", "path"])
        self.all: tuple[Metric, ...] = (
            self.cached,
            self.swapped,
            self.pressure,
            self.pages,
            self.disk,
            self.disk_free,
        )

    def add(self, host: str, sample: HostSample) -> None:
        """Add what is known; the rest is left out."""
        for disk in sample.disks:
            self.disk.add_metric([host, disk.path], disk.total_bytes)
            self.disk_free.add_metric([host, disk.path], disk.free_bytes)
        if ram := sample.ram:
            self.cached.add_metric([host], ram.cached_bytes)
            self.swapped.add_metric([host, "in"], ram.swapped_in_bytes)
            self.swapped.add_metric([host, "out"], ram.swapped_out_bytes)
            if ram.huge_pages_total_bytes:
                self.pages.add_metric([host, "total"], ram.huge_pages_total_bytes)
                self.pages.add_metric([host, "free"], ram.huge_pages_free_bytes)
            if ram.pressure:
                self.pressure.add_metric([host, "some"], ram.pressure.some_percent / 100)
                self.pressure.add_metric([host, "full"], ram.pressure.full_percent / 100)


def alerts() -> Metric:
    """Open alerts by rule and severity, muted ones included."""
    family = GaugeMetricFamily("berth_alerts", "Open alerts, by rule and severity.", labels=["rule", "severity"])
    counted = Alert.objects.filter(state=Alert.State.OPEN).order_by().values_list("rule", "severity")
    for rule, severity, count in counted.annotate(count=Count("pk")):
        family.add_metric([rule, severity], count)
    return family
