"""The fleet's read model, by the same few queries for one host and for a thousand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Count, Q

from models_app.catalog.models import Installation, Variant
from models_app.inventory.models import Endpoint, Gpu, Host, LoadedModel, Residency
from models_app.operations.fleet_models import About, Key, hue, model_view
from models_app.operations.fleet_view import EndpointView, FleetView, GpuView, HostView, ModelView, Sums
from models_app.operations.memory_bar import Promise, fill, fill_ram
from models_app.operations.models import OperationTarget
from models_app.operations.reservations import Reservation
from models_app.operations.speeds import latest_speeds
from models_app.probes.types import GpuSample, GpuState, PoolKind
from models_app.telemetry.latest import Latest, latest_by_host


@dataclass(frozen=True, slots=True)
class Rows:
    """Everything that the view is made of but the samples."""

    hosts: list[Host]
    about: About
    installed: dict[int, int]
    promises: dict[int, list[Promise]]


def fleet(rows: Rows | None = None, samples: Mapping[int, Latest] | None = None) -> FleetView:
    """The hosts with their GPUs, endpoints and models, as measured last, and the sums over them.

    ``rows`` are given where only a new sample is news: the samples are then all that is read. ``samples`` are given by a
    caller that needs them besides.
    """
    rows = rows or read_rows()
    samples = latest_by_host([host.pk for host in rows.hosts]) if samples is None else samples
    hosts = tuple(host_view(host, rows, samples.get(host.pk)) for host in rows.hosts)
    return FleetView(hosts, sums_of(hosts))


def read_rows(host_ids: Collection[int] | None = None) -> Rows:
    """The rows of these hosts, or of all, as they are now."""
    there = _of(host_ids, "endpoint__host")
    installations = list(_installations_in_memory(there))
    variants = {(row.endpoint_id, row.name): row.variant for row in installations}
    about = About(
        variants=variants,
        launches={(row.endpoint_id, row.name): row.launch for row in installations},
        residencies={(row.endpoint_id, row.name): row for row in Residency.objects.filter(there, lost_at=None)},
        busy={
            (row.endpoint_id, row.model_name): row.operation_id
            for row in OperationTarget.objects.filter(there, active=True)
        },
        speeds=latest_speeds({variant.pk for variant in variants.values()}),
    )
    installed = dict(Installation.objects.filter(there).order_by().values_list("endpoint").annotate(Count("id")))
    hosts = list(Host.objects.filter(_of(host_ids, "pk")).prefetch_related("gpus", "endpoints__loaded_models"))
    return Rows(hosts, about, installed, _promises(about.variants))


def _of(host_ids: Collection[int] | None, path: str) -> Q:
    return Q() if host_ids is None else Q(**{f"{path}__in": host_ids})


def _promises(variants: dict[Key, Variant]) -> dict[int, list[Promise]]:
    promises: dict[int, list[Promise]] = defaultdict(list)
    for held in Reservation.objects.select_related("operation"):
        name = held.operation.model_name
        colour = hue(variants.get((held.operation.endpoint_id or 0, name)), name)
        promises[held.gpu_id].append(Promise(name, colour, held.reservation_bytes, held.baseline_bytes))
    return promises


def _installations_in_memory(there: Q) -> Iterable[Installation]:
    loaded = LoadedModel.objects.filter(there).values("name")
    promised = Reservation.objects.values("operation__model_name")
    named = Q(name__in=loaded) | Q(name__in=promised)
    return Installation.objects.filter(there, named).select_related("variant__header")


def host_view(host: Host, rows: Rows, latest: Latest | None) -> HostView:
    """One of the rows' hosts, with its newest sample."""
    endpoints = list(host.endpoints.all())
    shares = latest.shares if latest else {}
    models = [
        model_view(row, endpoint, shares, rows.about) for endpoint in endpoints for row in endpoint.loaded_models.all()
    ]
    models.sort(key=lambda model: model.id)  # the newest last, where the bar grows
    gpus = tuple(_gpu(gpu, latest, models, rows) for gpu in host.gpus.all() if gpu.present)
    on_gpus = {model.id for gpu in gpus for model in gpu.models}
    ram = latest.sample.ram if latest else None
    return HostView(
        id=host.pk,
        name=host.name,
        is_local=host.is_local,
        tags=tuple(host.tags),
        gpus=gpus,
        endpoints=tuple(_endpoint(endpoint, rows.installed.get(endpoint.pk, 0)) for endpoint in endpoints),
        elsewhere=tuple(model for model in models if model.id not in on_gpus),
        ram_total_bytes=ram.total_bytes if ram else None,
        ram_used_bytes=ram.total_bytes - ram.available_bytes if ram else None,
        ram_segments=fill_ram(ram, models) if ram else (),
        sampled_at=latest.sample.taken_at if latest else host.last_sample_at,
        is_stale=latest.is_stale if latest else False,
        problem=host.gpu_problem,
    )


def _endpoint(row: Endpoint, installed_count: int) -> EndpointView:
    return EndpointView(
        id=row.pk,
        name=row.name,
        kind=row.kind,
        mode=row.mode,
        url=row.url,
        version=row.version,
        is_online=row.state == Endpoint.State.ONLINE,
        state=row.get_state_display(),
        code=row.state_code,
        message=row.state_message,
        hint=row.state_hint,
        warnings=tuple(row.warnings),
        last_seen_at=row.last_seen_at,
        capabilities=tuple(row.capabilities),
        load_options=tuple(row.load_options),
        installed_count=installed_count,
    )


def _gpu(gpu: Gpu, latest: Latest | None, models: list[ModelView], rows: Rows) -> GpuView:
    sample = latest.gpu(gpu.uuid) if latest else None
    figures = sample or GpuSample(gpu.uuid, gpu.index, gpu.name, GpuState(gpu.state), gpu.state_reason)
    others = latest.shares[gpu.uuid].others if latest and gpu.uuid in latest.shares else {}
    filling = fill(figures, models, others, rows.promises.get(gpu.pk, []))
    total_bytes = figures.total_bytes or gpu.total_bytes
    headroom_bytes = int(settings.HEADROOM_FRACTION * total_bytes)
    return GpuView(
        id=gpu.pk,
        uuid=gpu.uuid,
        index=gpu.index,
        name=gpu.name,
        pool=PoolKind(gpu.pool),
        state=figures.state,
        reason=figures.reason,
        is_measured=sample is not None and figures.state is GpuState.OK,
        total_bytes=total_bytes,
        driver_reserved_bytes=figures.driver_reserved_bytes,
        used_bytes=figures.used_bytes,
        free_bytes=figures.free_bytes,
        held_bytes=filling.held_bytes,
        headroom_bytes=headroom_bytes,
        available_bytes=max(0, figures.free_bytes - filling.held_bytes - headroom_bytes),
        unexplained_bytes=filling.unexplained_bytes,
        utilization_percent=figures.utilization_percent,
        temperature_celsius=figures.temperature_celsius,
        power_milliwatts=figures.power_milliwatts,
        segments=filling.segments,
        recent_bytes=tuple(latest.recent.get(gpu.uuid, ())) if latest else (),
        models=tuple(model for model in models if model.main_gpu == gpu.uuid),
    )


def sums_of(hosts: Collection[HostView]) -> Sums:
    """The sums over these hosts."""
    gpus = [gpu for host in hosts for gpu in host.gpus]
    return Sums(
        hosts=len(hosts),
        gpus=len(gpus),
        models=sum(model.last_seen_at is None for host in hosts for model in host.models),
        used_bytes=sum(gpu.used_bytes for gpu in gpus),
        total_bytes=sum(gpu.total_bytes for gpu in gpus),
        available_bytes=sum(gpu.available_bytes for gpu in gpus),
        unexplained_bytes=sum(gpu.unexplained_bytes for gpu in gpus),
    )
