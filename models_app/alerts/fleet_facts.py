"""The hosts as rules see them: from columns of their rows and the newest samples, without an object for each row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from models_app.alerts.rows import Rows, read
from models_app.alerts.rules.facts import ModelKey
from models_app.alerts.rules.fleet import SERVER_PROCESSES, EndpointFacts, GpuFacts, HostFacts, ModelFacts
from models_app.backends.protocol import Capability
from models_app.catalog.models import Variant
from models_app.inventory.models import Gpu, Host
from models_app.probes.types import GpuSample, GpuState, PoolKind
from models_app.telemetry.latest import Latest


def host_facts(latest: Mapping[int, Latest]) -> tuple[tuple[HostFacts, ...], Mapping[ModelKey, Variant]]:
    """Every host, in the order of their names, and the variants of the models that lie on the CPU."""
    hosts = list(Host.objects.order_by("name").values_list("pk", "name", "last_sample_at"))
    rows = read([pk for pk, _, _ in hosts], latest)
    return tuple(_host(pk, name, last_sample_at, latest.get(pk), rows) for pk, name, last_sample_at in hosts), rows.variants


def _host(pk: int, name: str, last_sample_at: datetime | None, latest: Latest | None, rows: Rows) -> HostFacts:
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
    row: Mapping[str, Any], endpoint: EndpointFacts, shares: Mapping[int, tuple[str, dict[str, int]]], rows: Rows
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
        has_lost_process=row["pk"] in rows.lost,
    )


def _gpus(host_id: int, latest: Latest | None, models: Iterable[ModelFacts], rows: Rows) -> tuple[GpuFacts, ...]:
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
