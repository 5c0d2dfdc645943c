"""``/metrics`` for Prometheus: GPUs, hosts, endpoints, models and operations as they are now, in a few queries.

A GPU's figures are left out while its host's sample is stale, so that an old figure never looks like a new one.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Iterator

from django.conf import settings
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from models_app.accounts.tokens import find_token
from models_app.api.errors import Problem, respond
from models_app.api.metrics_details import alerts, gpu_details, host_details
from models_app.inventory.models import Endpoint, Gpu, Host, LoadedModel
from models_app.operations.models import Operation
from models_app.probes.types import GpuSample, GpuState
from models_app.telemetry.latest import Latest, latest_by_host

GPU_LABELS = ("host", "gpu", "uuid")


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """The text format of Prometheus, for whoever holds a token or asks from one of ``BERTH_METRICS_NETWORKS``."""
    if not (_has_token(request) or _is_near(request)):
        detail = (
            "Send a token with the scope “read”: Authorization: Bearer …, or list your network in BERTH_METRICS_NETWORKS."
        )
        return respond(Problem(401, "unauthenticated", detail))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Fleet())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _has_token(request: HttpRequest) -> bool:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and find_token(secret.strip()) is not None


def _is_near(request: HttpRequest) -> bool:
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in settings.METRICS_NETWORKS)


class Fleet(Collector):
    """What the rows and the newest samples say, as metric families."""

    def describe(self) -> Iterable[Metric]:
        """Nothing is read when it is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every family, in a number of queries that does not depend on the fleet's size."""
        latest = latest_by_host()
        yield from _hosts(latest)
        gpus = list(Gpu.objects.select_related("host"))
        yield from _gpus(gpus, latest)
        yield from gpu_details(gpus, latest)
        models = list(LoadedModel.objects.current().select_related("endpoint__host"))
        yield from _endpoints(models)
        yield from _models(models, {gpu.uuid: str(gpu.index) for gpu in gpus})
        yield _operations()
        yield alerts()


def _hosts(latest: dict[int, Latest]) -> Iterator[Metric]:
    sampled = _gauge("berth_host_last_sample_timestamp_seconds", "When the host was sampled last.", "host")
    total = _gauge("berth_host_memory_total_bytes", "Memory of the host.", "host")
    available = _gauge("berth_host_memory_available_bytes", "What a new process could get without swapping.", "host")
    swap = _gauge("berth_host_swap_used_bytes", "Swap in use.", "host")
    hosts = list(Host.objects.filter(pk__in=latest))
    for host in hosts:
        found = latest[host.pk]
        sampled.add_metric([host.name], found.sample.taken_at.timestamp())
        if found.sample.ram and not found.is_stale:
            total.add_metric([host.name], found.sample.ram.total_bytes)
            available.add_metric([host.name], found.sample.ram.available_bytes)
            swap.add_metric([host.name], found.sample.ram.swap_used_bytes)
    fresh = {host.name: latest[host.pk].sample for host in hosts if not latest[host.pk].is_stale}
    return iter((sampled, total, available, swap, *host_details(fresh)))


def _gpus(gpus: list[Gpu], latest: dict[int, Latest]) -> Iterator[Metric]:
    info = _gauge("berth_gpu_info", "1, with the GPU's model and the kind of its memory.", *GPU_LABELS, "name", "pool")
    up = _gauge("berth_gpu_up", "Whether the GPU answers, by a sample of the last seconds.", *GPU_LABELS)
    figures = _GpuFigures()
    for gpu in gpus:
        labels = [gpu.host.name, str(gpu.index), gpu.uuid]
        found = latest.get(gpu.host_id)
        sample = found.gpu(gpu.uuid) if found and not found.is_stale else None
        answers = sample is not None and sample.state is GpuState.OK
        info.add_metric([*labels, gpu.name, gpu.pool], 1)
        up.add_metric(labels, float(answers))
        if found and sample and answers:
            shares = found.shares.get(gpu.uuid)
            figures.add(labels, sample, shares.unexplained_bytes if shares else None)
    return iter((info, up, *figures.families))


class _GpuFigures:
    """What a sample says of a GPU."""

    def __init__(self) -> None:
        self.families = [
            _gauge("berth_gpu_memory_total_bytes", "VRAM of the GPU.", *GPU_LABELS),
            _gauge("berth_gpu_memory_used_bytes", "VRAM in use, without the driver's reserve.", *GPU_LABELS),
            _gauge("berth_gpu_memory_free_bytes", "VRAM that is free.", *GPU_LABELS),
            _gauge("berth_gpu_memory_reserved_bytes", "VRAM that the driver keeps for itself.", *GPU_LABELS),
            _gauge("berth_gpu_memory_unexplained_bytes", "VRAM in use that no process accounts for.", *GPU_LABELS),
            _gauge("berth_gpu_utilization_ratio", "Share of time in which a kernel ran, from 0 to 1.", *GPU_LABELS),
            _gauge("berth_gpu_temperature_celsius", "Temperature of the GPU.", *GPU_LABELS),
            _gauge("berth_gpu_power_watts", "Power draw.", *GPU_LABELS),
            _gauge("berth_gpu_power_limit_watts", "Power limit in force.", *GPU_LABELS),
        ]

    def add(self, labels: list[str], gpu: GpuSample, unexplained_bytes: int | None) -> None:
        """Add what is known; the rest is left out."""
        values = (
            gpu.total_bytes,
            gpu.used_bytes,
            gpu.free_bytes,
            gpu.driver_reserved_bytes,
            unexplained_bytes,
            _scaled(gpu.utilization_percent, 100),
            gpu.temperature_celsius,
            _scaled(gpu.power_milliwatts, 1000),
            _scaled(gpu.power_limit_milliwatts, 1000),
        )
        for family, value in zip(self.families, values, strict=True):
            if value is not None:
                family.add_metric(labels, value)


def _endpoints(models: list[LoadedModel]) -> Iterator[Metric]:
    labels = ("host", "endpoint", "kind")
    up = _gauge("berth_endpoint_up", "Whether the endpoint answered when it was looked at last.", *labels)
    loaded = _gauge("berth_endpoint_loaded_models", "Models that the endpoint lists in memory.", *labels)
    counts = Counter(model.endpoint_id for model in models)
    for endpoint in Endpoint.objects.select_related("host"):
        values = [endpoint.host.name, endpoint.name, endpoint.kind]
        is_up = endpoint.state == Endpoint.State.ONLINE
        up.add_metric(values, float(is_up))
        if is_up:
            loaded.add_metric(values, counts[endpoint.pk])
    return iter((up, loaded))


def _models(models: list[LoadedModel], indexes: dict[str, str]) -> Iterator[Metric]:
    labels = ("host", "endpoint", "model")
    total = _gauge("berth_model_memory_bytes", "What the endpoint says that the model takes, on GPUs and CPU.", *labels)
    how = "VRAM that the model holds on one GPU; attributed_by says how it is known: process, gpu or endpoint."
    held = _gauge("berth_model_gpu_memory_bytes", how, *labels, "gpu", "uuid", "attributed_by")
    for model in models:
        values = [model.endpoint.host.name, model.endpoint.name, model.name]
        if model.size_bytes is not None:
            total.add_metric(values, model.size_bytes)
        for uuid, count_bytes in model.gpu_bytes.items():
            held.add_metric([*values, indexes.get(uuid, ""), uuid, model.attributed_by], count_bytes)
    return iter((total, held))


def _operations() -> Metric:
    family = _gauge("berth_operations", "Operations that are known, by kind and state.", "kind", "state")
    counted = Operation.objects.order_by().values_list("kind", "state").annotate(count=Count("pk"))
    for kind, state, count in counted:
        family.add_metric([kind, state], count)
    return family


def _gauge(name: str, meaning: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, labels=labels)


def _scaled(value: int | None, divisor: int) -> float | None:
    return None if value is None else value / divisor
