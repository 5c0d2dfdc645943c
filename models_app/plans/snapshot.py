"""Takes the fleet's snapshot for a plan from the rows and the newest samples, and supposes a what-if's changes in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.conf import settings

from models_app.agent.supervision.ollama import OllamaSpec
from models_app.backends.protocol import Capability, ModelState
from models_app.catalog.models import Installation, Variant
from models_app.inventory.managed import is_managed, spec_of
from models_app.inventory.models import Endpoint, Host, LoadedModel, Residency
from models_app.operations.fleet_models import hue
from models_app.operations.reservations import Reservation, held_bytes, usable_gpus
from models_app.plans.changes import NONE, Changes
from models_app.plans.fleet import Fleet, Pool, Server
from models_app.plans.records import RAM, Instance
from models_app.plans.supposing import model_limit, supposed
from models_app.probes.types import GpuSample, PoolKind, RamSample
from models_app.solver.types import DeviceSets
from models_app.telemetry.latest import Latest, latest_by_host

LEAST_SHARE = 0.02
"""A GPU with less of a model than this has no part in it: a context that llama.cpp opens everywhere."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """What belongs to models in memory, by their endpoint and name there, and what is promised on each host's GPUs."""

    variants: dict[tuple[int, str], Variant]
    residencies: dict[tuple[int, str], Residency]
    reservations: dict[int, list[Reservation]]


def take_snapshot(changes: Changes = NONE) -> Fleet:
    """The fleet as measured last. Hosts without a fresh sample and endpoints that do not answer are left out, and named."""
    samples = latest_by_host()
    rows = _rows()
    pools: list[Pool] = []
    servers: list[Server] = []
    loaded: list[Instance] = []
    left_out: list[str] = []
    for host in Host.objects.prefetch_related("endpoints__loaded_models", "endpoints__managed"):
        latest = samples.get(host.pk)
        if latest is None or latest.is_stale:
            left_out.append(f"{host.name} is left out: its memory is not measured at the moment.")
            continue
        seen = [gpu for gpu in usable_gpus(latest.sample) if gpu.uuid not in changes.removed_gpus]
        left_out += [
            f"GPU {gpu.index} of {host.name} is left out: {gpu.reason or gpu.state}."
            for gpu in latest.sample.gpus
            if gpu not in usable_gpus(latest.sample)
        ]
        endpoints = list(host.endpoints.all())
        left_out += [f"{each.name} is left out: it does not answer." for each in endpoints if not _answers(each)]
        here = [_server(each, host, seen) for each in endpoints if _answers(each)]
        held = list(_loaded(host, here, latest, rows, {gpu.uuid for gpu in seen}))
        servers += here
        loaded += held
        pools += _pools(host, seen, latest, held, rows.reservations.get(host.pk, []))
    return supposed(Fleet(tuple(pools), tuple(servers), tuple(loaded), tuple(left_out)), changes)


def _rows() -> _Rows:
    names = LoadedModel.objects.values("name")
    installed = Installation.objects.filter(name__in=names).select_related("variant")
    reservations: dict[int, list[Reservation]] = {}
    for row in Reservation.objects.select_related("gpu"):
        reservations.setdefault(row.gpu.host_id, []).append(row)
    return _Rows(
        {(row.endpoint_id, row.name): row.variant for row in installed},
        {(row.endpoint_id, row.name): row for row in Residency.objects.filter(lost_at=None)},
        reservations,
    )


def _answers(endpoint: Endpoint) -> bool:
    return endpoint.state == Endpoint.State.ONLINE


def _server(row: Endpoint, host: Host, gpus: Iterable[GpuSample]) -> Server:
    spec = spec_of(row) if is_managed(row) else None
    chosen = spec.gpus if spec else ()
    most_loaded = spec.most_loaded if isinstance(spec, OllamaSpec) else None
    seen = tuple(gpu.uuid for gpu in gpus if not chosen or gpu.uuid in chosen)
    chooses = "gpu" in row.load_options and len(seen) > 1
    return Server(
        id=row.pk,
        name=row.name,
        host=host.name,
        kind=row.kind,
        mode=row.mode,
        gpus=seen,
        sets=DeviceSets.ONE_OR_WHOLE if chooses else DeviceSets.WHOLE,
        copies=False,
        options=tuple(sorted(row.load_options)),
        can_load=Capability.LOAD in row.capabilities,
        can_unload=Capability.UNLOAD in row.capabilities,
        max_models=most_loaded or model_limit(row.mode, len(seen), len(row.loaded_models.all())),
    )


def _loaded(host: Host, servers: list[Server], latest: Latest, rows: _Rows, gpus: set[str]) -> Iterator[Instance]:
    by_id = {server.id: server for server in servers}
    for endpoint in host.endpoints.all():
        for row in endpoint.loaded_models.all():
            server = by_id.get(endpoint.pk)
            if server is None or row.state == ModelState.STOPPING:
                continue
            instance = _instance(row, server, latest, rows, gpus)
            if instance.bytes or not row.gpu_bytes:
                yield instance


def _instance(row: LoadedModel, server: Server, latest: Latest, rows: _Rows, gpus: set[str]) -> Instance:
    key = (server.id, row.name)
    variant, residency = rows.variants.get(key), rows.residencies.get(key)
    shares = {uuid: gpu.models[row.pk].bytes for uuid, gpu in latest.shares.items() if row.pk in gpu.models}
    shares = {uuid: size for uuid, size in (shares or row.gpu_bytes).items() if uuid in gpus}
    least = LEAST_SHARE * sum(shares.values())
    held = {uuid: size for uuid, size in sorted(shares.items()) if size > least}
    on_cpu = max(0, row.size_bytes - row.vram_bytes) if row.size_bytes and row.vram_bytes is not None else 0
    options = residency.options if residency else {}
    return Instance(
        demand="",
        endpoint_id=server.id,
        endpoint=server.name,
        host=server.host,
        model=row.name,
        gpus=tuple(uuid for uuid in server.gpus if uuid in held),
        bytes=held | ({RAM + server.host: on_cpu} if on_cpu else {}),
        options=dict(options),
        quantization=variant.quantization if variant else "",
        hue=hue(variant, row.name),
        context_length=row.context_length,
        slots=row.parallel,
        layers=_layers(variant, held, on_cpu),
        fixed=not (server.can_unload and server.can_load),
        foreign=residency is None,
    )


def _layers(variant: Variant | None, held: dict[str, int], on_cpu: int) -> int | None:
    """About how many layers are on GPUs, ``None`` for all; exact only where the endpoint was told."""
    if not on_cpu:
        return None
    total = sum(held.values()) + on_cpu
    return (variant.layer_count if variant and variant.layer_count else 1) * sum(held.values()) // total


def _pools(
    host: Host, gpus: list[GpuSample], latest: Latest, held: list[Instance], reservations: list[Reservation]
) -> Iterator[Pool]:
    movable: dict[str, int] = {}
    for instance in held:
        for pool, size in instance.bytes.items():
            movable[pool] = movable.get(pool, 0) + (0 if instance.fixed else size)
    promised = held_bytes(reservations, {gpu.uuid: gpu.used_bytes for gpu in gpus})
    for gpu in gpus:
        yield Pool(
            id=gpu.uuid,
            host=host.name,
            kind="unified" if gpu.pool is PoolKind.UNIFIED else "vram",
            label=f"GPU {gpu.index}",
            name=gpu.name,
            total_bytes=gpu.total_bytes,
            reserved_bytes=gpu.driver_reserved_bytes,
            headroom_bytes=int(settings.HEADROOM_FRACTION * gpu.total_bytes),
            others_bytes=max(0, gpu.used_bytes - movable.get(gpu.uuid, 0)) + promised.get(gpu.uuid, 0),
            index=gpu.index,
        )
    is_unified = any(gpu.pool is PoolKind.UNIFIED for gpu in gpus)
    if latest.sample.ram is not None and not is_unified:
        yield _ram(host, latest.sample.ram, movable.get(RAM + host.name, 0))


def _ram(host: Host, ram: RamSample, movable_bytes: int) -> Pool:
    return Pool(
        id=RAM + host.name,
        host=host.name,
        kind="host_ram",
        label="RAM",
        name="Host RAM",
        total_bytes=ram.total_bytes,
        headroom_bytes=int(settings.HEADROOM_FRACTION * ram.total_bytes),
        others_bytes=max(0, ram.total_bytes - ram.available_bytes - movable_bytes),
    )
