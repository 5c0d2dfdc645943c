"""The hosts as rules see them: from columns of their rows and the newest samples, without an object for each row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from models_app.alerts.rules.facts import SERVER_PROCESSES, EndpointFacts, GpuFacts, HostFacts, ModelFacts, ModelKey
from models_app.backends.protocol import Capability
from models_app.catalog.models import Variant
from models_app.inventory.models import Endpoint, Gpu, Host, LoadedModel, Residency
from models_app.operations.fleet import read_rows
from models_app.operations.fleet_models import cpu_bytes_of, kv_bytes
from models_app.operations.memory_bar import Promise
from models_app.operations.models import OperationTarget, Reservation
from models_app.probes.types import GpuSample, GpuState, PoolKind
from models_app.telemetry.latest import Latest

STATES = dict(Endpoint.State.choices)
ENDPOINT_COLUMNS = (
    *("host_id", "pk", "name", "kind", "url", "version", "state", "state_code", "state_message", "state_hint"),
    *("capabilities", "load_options"),
)
MODEL_COLUMNS = (
    *("endpoint_id", "pk", "name", "state", "context_length", "gpu_bytes", "size_bytes", "vram_bytes", "attributed_by"),
    *("expires_at", "kept_forever"),
)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the tables say: endpoints by host, models by endpoint, intentions and operations by model, promises by GPU.

    ``unmeasured`` are GPUs by host of which their rows know more than the samples. ``kv_bytes`` is by the model's row.
    """

    endpoints: Mapping[int, list[EndpointFacts]]
    models: Mapping[int, list[dict[str, Any]]]
    residencies: Mapping[ModelKey, Residency]
    busy: Mapping[ModelKey, int]
    promises: Mapping[str, list[Promise]]
    unmeasured: Mapping[int, list[Gpu]]
    kv_bytes: Mapping[int, int]


def host_facts(latest: Mapping[int, Latest]) -> tuple[tuple[HostFacts, ...], dict[ModelKey, Variant]]:
    """Every host, in the order of their names, and what is known of the models that lie on the CPU.

    By a number of queries that does not depend on the fleet's size.
    """
    hosts = list(Host.objects.order_by("name").values_list("pk", "name", "last_sample_at"))
    models = _models()
    on_cpu, variants = _on_cpu({row["endpoint_id"] for rows in models.values() for row in rows if row["cpu_bytes"]})
    rows = _Rows(
        endpoints=_endpoints(),
        models=models,
        residencies={(row.endpoint_id, row.name): row for row in Residency.objects.filter(lost_at=None).defer("options")},
        busy=_busy(),
        promises=_promises(),
        unmeasured=_unmeasured([pk for pk, _, _ in hosts if pk not in latest], latest.values()),
        kv_bytes=on_cpu,
    )
    return tuple(_host(pk, name, last_sample_at, latest.get(pk), rows) for pk, name, last_sample_at in hosts), variants


# ── rows ─────────────────────────────────────────────────────────────────────
def _endpoints() -> dict[int, list[EndpointFacts]]:
    found: dict[int, list[EndpointFacts]] = defaultdict(list)
    for host_id, pk, name, kind, url, version, state, *said, capabilities, load_options in Endpoint.objects.order_by(
        "name"
    ).values_list(*ENDPOINT_COLUMNS):
        is_online, shown = state == Endpoint.State.ONLINE, STATES.get(state, state)
        can = tuple(capabilities), tuple(load_options)
        found[host_id].append(EndpointFacts(pk, name, kind, url, version, is_online, str(shown), *said, *can))
    return found


def _models() -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in LoadedModel.objects.order_by("pk").values(*MODEL_COLUMNS):
        row["cpu_bytes"] = cpu_bytes_of(row["size_bytes"], row["vram_bytes"])
        found[row["endpoint_id"]].append(row)
    return found


def _on_cpu(endpoint_ids: Collection[int]) -> tuple[dict[int, int], dict[ModelKey, Variant]]:
    """The KV caches of the models on these endpoints, by row, and their variants: few, and the page's own reckoning."""
    if not endpoint_ids:
        return {}, {}
    rows = read_rows(set(Endpoint.objects.filter(pk__in=endpoint_ids).values_list("host_id", flat=True)))
    endpoints = [endpoint for host in rows.hosts for endpoint in host.endpoints.all() if endpoint.pk in endpoint_ids]
    caches = {
        row.pk: kv_bytes(row, endpoint, rows.about)
        for endpoint in endpoints
        for row in endpoint.loaded_models.all()
        if cpu_bytes_of(row.size_bytes, row.vram_bytes)
    }
    return caches, rows.about.variants


def _busy() -> dict[ModelKey, int]:
    rows = OperationTarget.objects.filter(active=True).values_list("endpoint_id", "model_name", "operation_id")
    return {(endpoint_id, name): operation_id for endpoint_id, name, operation_id in rows}


def _promises() -> dict[str, list[Promise]]:
    found: dict[str, list[Promise]] = defaultdict(list)
    for held in Reservation.objects.select_related("operation", "gpu"):
        promise = Promise(held.operation.model_name, 0, held.reservation_bytes, held.baseline_bytes)
        found[held.gpu.uuid].append(promise)
    return found


def _unmeasured(unsampled: Collection[int], latest: Iterable[Latest]) -> dict[int, list[Gpu]]:
    silent = [gpu.uuid for each in latest for gpu in each.sample.gpus if gpu.state is not GpuState.OK]
    found: dict[int, list[Gpu]] = defaultdict(list)
    for gpu in Gpu.objects.filter(Q(host_id__in=unsampled) | Q(uuid__in=silent), present=True).order_by("index", "pk"):
        found[gpu.host_id].append(gpu)
    return found


# ── facts ────────────────────────────────────────────────────────────────────
def _host(pk: int, name: str, last_sample_at: Any, latest: Latest | None, rows: _Rows) -> HostFacts:
    endpoints = tuple(rows.endpoints.get(pk, ()))
    shares = _by_model(latest) if latest else {}
    models = [_model(row, each, shares, rows) for each in endpoints for row in rows.models.get(each.id, ())]
    models.sort(key=lambda model: model.id)
    return HostFacts(
        id=pk,
        name=name,
        gpus=_gpus(pk, latest, models, rows),
        endpoints=endpoints,
        models=tuple(models),
        sampled_at=latest.sample.taken_at if latest else last_sample_at,
        is_stale=latest.is_stale if latest else False,
    )


def _by_model(latest: Latest) -> dict[int, tuple[str, dict[str, int]]]:
    """By the row of a loaded model: how its bytes are known, and how many on each GPU."""
    found: dict[int, tuple[str, dict[str, int]]] = {}
    for uuid, gpu in latest.shares.items():
        for row_id, share in gpu.models.items():
            found.setdefault(row_id, (share.by.value, {}))[1][uuid] = share.bytes
    return found


def _model(
    row: Mapping[str, Any], endpoint: EndpointFacts, shares: Mapping[int, tuple[str, dict[str, int]]], rows: _Rows
) -> ModelFacts:
    key = endpoint.id, row["name"]
    by, gpu_bytes = shares.get(row["pk"]) or (row["attributed_by"], row["gpu_bytes"])
    residency = rows.residencies.get(key)
    return ModelFacts(
        id=row["pk"],
        name=row["name"],
        endpoint_id=endpoint.id,
        state=row["state"],
        context_length=row["context_length"],
        gpu_bytes=gpu_bytes,
        kv_bytes=rows.kv_bytes.get(row["pk"], 0),
        cpu_bytes=row["cpu_bytes"],
        size_bytes=row["size_bytes"],
        attributed_by=by,
        expires_at=row["expires_at"],
        kept_forever=row["kept_forever"],
        pinned=residency.pinned if residency else False,
        loaded_by=residency.requested_by if residency else "",
        can_unload=Capability.UNLOAD in endpoint.capabilities,
        can_set_keep_alive=Capability.KEEP_ALIVE in endpoint.capabilities,
        operation_id=rows.busy.get(key),
    )


def _gpus(host_id: int, latest: Latest | None, models: Iterable[ModelFacts], rows: _Rows) -> tuple[GpuFacts, ...]:
    """As the sample says; what it does not say of a GPU that does not answer is in its row."""
    known = {gpu.uuid: gpu for gpu in rows.unmeasured.get(host_id, ())}
    if latest is None:
        return tuple(_gpu(_sample(gpu), gpu, {}, 0, is_measured=False) for gpu in known.values())
    held: dict[str, dict[str, int]] = {}
    for model in models:
        for uuid, count_bytes in model.gpu_bytes.items():
            of_gpu = held.setdefault(uuid, {})
            of_gpu[model.name] = of_gpu.get(model.name, 0) + count_bytes
    found = []
    for gpu in latest.sample.gpus:
        share = latest.shares.get(gpu.uuid)
        by_model = held.get(gpu.uuid, {})
        rising = sum(
            promise.risen_bytes(gpu.used_bytes)
            for promise in rows.promises.get(gpu.uuid, ())
            if promise.model_name not in by_model
        )
        found.append(
            _gpu(
                gpu,
                known.get(gpu.uuid),
                share.others if share else {},
                sum(by_model.values()) + rising,
                is_measured=gpu.state is GpuState.OK,
            )
        )
    return tuple(found)


def _sample(gpu: Gpu) -> GpuSample:
    return GpuSample(gpu.uuid, gpu.index, gpu.name, GpuState(gpu.state), gpu.state_reason)


def _gpu(gpu: GpuSample, row: Gpu | None, others: Mapping[str, int], held_bytes: int, *, is_measured: bool) -> GpuFacts:
    """``held_bytes`` are those of models, and of loads that are on their way."""
    idle_bytes = sum(others[name] for name in SERVER_PROCESSES & others.keys()) if others else 0
    return GpuFacts(
        uuid=gpu.uuid,
        index=row.index if row else gpu.index,
        name=row.name if row else gpu.name,
        pool=PoolKind(row.pool) if row else gpu.pool,
        state=gpu.state,
        reason=gpu.reason,
        is_measured=is_measured,
        total_bytes=gpu.total_bytes or (row.total_bytes if row else 0),
        driver_reserved_bytes=gpu.driver_reserved_bytes,
        used_bytes=gpu.used_bytes,
        free_bytes=gpu.free_bytes,
        unexplained_bytes=max(0, gpu.used_bytes - held_bytes - sum(others.values())),
        idle_server_bytes=idle_bytes,
        utilization_percent=gpu.utilization_percent,
        temperature_celsius=gpu.temperature_celsius,
    )
