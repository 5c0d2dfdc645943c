"""What the tables say of hosts, by columns: for rules, which look at all of it every few seconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from models_app.alerts.rules.facts import ModelKey
from models_app.alerts.rules.fleet import EndpointFacts
from models_app.catalog.models import Variant
from models_app.inventory.models import Endpoint, Gpu, LoadedModel, Residency
from models_app.operations.fleet import read_rows
from models_app.operations.fleet_models import cpu_bytes_of, kv_bytes
from models_app.operations.memory_bar import Promise
from models_app.operations.models import OperationTarget
from models_app.operations.reservations import Reservation
from models_app.probes.types import GpuState
from models_app.telemetry.latest import Latest
from models_app.telemetry.resident import without_process

STATES = dict(Endpoint.State.choices)
ENDPOINT_COLUMNS = (
    *("host_id", "pk", "name", "kind", "url", "version", "state", "state_code", "state_message", "state_hint"),
    *("capabilities", "load_options", "discovered", "last_seen_at"),
)
MODEL_COLUMNS = (
    *("endpoint_id", "pk", "name", "state", "context_length", "gpu_bytes", "size_bytes", "vram_bytes", "attributed_by"),
    *("expires_at", "kept_forever"),
)


@dataclass(frozen=True, slots=True)
class Rows:
    """What the tables say: endpoints by host, models by endpoint, intentions and operations by model, promises by GPU.

    ``unmeasured`` are GPUs by host of which their rows know more than the samples. ``kv_bytes`` is by the model's row.
    ``variants`` are those of models that lie on the CPU, ``lost`` the rows of those among them whose process has gone.
    """

    endpoints: Mapping[int, list[EndpointFacts]]
    models: Mapping[int, list[dict[str, Any]]]
    residencies: Mapping[ModelKey, Residency]
    busy: Mapping[ModelKey, int]
    promises: Mapping[str, list[Promise]]
    unmeasured: Mapping[int, list[Gpu]]
    kv_bytes: Mapping[int, int]
    variants: Mapping[ModelKey, Variant]
    lost: Set[int]


def read(host_ids: Iterable[int], latest: Mapping[int, Latest]) -> Rows:
    """All that is needed of these hosts, by a number of queries that does not depend on how many they are."""
    models = _models()
    on_cpu = {row["endpoint_id"] for rows in models.values() for row in rows if row["cpu_bytes"]}
    caches, variants, lost = _on_cpu(on_cpu, latest)
    return Rows(
        endpoints=_endpoints(),
        models=models,
        residencies={(row.endpoint_id, row.name): row for row in Residency.objects.filter(lost_at=None).defer("options")},
        busy=_busy(),
        promises=_promises(),
        unmeasured=_unmeasured([pk for pk in host_ids if pk not in latest], latest.values()),
        kv_bytes=caches,
        variants=variants,
        lost=lost,
    )


def _endpoints() -> dict[int, list[EndpointFacts]]:
    found: dict[int, list[EndpointFacts]] = defaultdict(list)
    for (
        host_id,
        pk,
        name,
        kind,
        url,
        version,
        state,
        code,
        message,
        hint,
        capabilities,
        load_options,
        *seen,
    ) in Endpoint.objects.order_by("name").values_list(*ENDPOINT_COLUMNS):
        is_online, shown = state == Endpoint.State.ONLINE, str(STATES.get(state, state))
        can = tuple(capabilities), tuple(load_options)
        facts = EndpointFacts(pk, name, kind, url, version, is_online, shown, code, message, hint, *can, *seen)
        found[host_id].append(facts)
    return found


def _models() -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in LoadedModel.objects.order_by("pk").values(*MODEL_COLUMNS):
        row["cpu_bytes"] = cpu_bytes_of(row["size_bytes"], row["vram_bytes"])
        found[row["endpoint_id"]].append(row)
    return found


def _on_cpu(
    endpoint_ids: Collection[int], latest: Mapping[int, Latest]
) -> tuple[dict[int, int], dict[ModelKey, Variant], set[int]]:
    """The KV caches of the models on these endpoints, by row, their variants, and the rows of those without a process.

    They are few, and it is the page's own reckoning.
    """
    if not endpoint_ids:
        return {}, {}, set()
    rows = read_rows(set(Endpoint.objects.filter(pk__in=endpoint_ids).values_list("host_id", flat=True)))
    endpoints = [endpoint for host in rows.hosts for endpoint in host.endpoints.all() if endpoint.pk in endpoint_ids]
    caches = {
        row.pk: kv_bytes(row, endpoint, rows.about)
        for endpoint in endpoints
        for row in endpoint.loaded_models.all()
        if cpu_bytes_of(row.size_bytes, row.vram_bytes)
    }
    lost = {pk for endpoint in endpoints if (seen := latest.get(endpoint.host_id)) for pk in _lost(endpoint, seen)}
    return caches, rows.about.variants, lost


def _lost(endpoint: Endpoint, latest: Latest) -> Iterable[int]:
    names = {row.name: row.pk for row in endpoint.loaded_models.all()}
    return [names[name] for name in without_process(endpoint, names, latest.sample)]


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
