"""Whose bytes they are: a host's sample merged with the models that its endpoints report."""

from __future__ import annotations

from collections.abc import Iterable

from models_app.backends.protocol import Observation
from models_app.inventory.models import Endpoint, Host, LoadedModel
from models_app.probes.attribution import Coverage, attribute
from models_app.probes.types import GpuState, HostSample
from models_app.telemetry.division import By, Claim, Shares, divide
from models_app.telemetry.processes import EndpointProcesses, loaded_names, processes_of


def shares_of(
    host: Host,
    sample: HostSample,
    rows: Iterable[LoadedModel] | None = None,
    endpoints: Iterable[Endpoint] | None = None,
) -> Shares:
    """Every GPU's used bytes, divided among the models that the rows list on the host's endpoints; keys are their ids."""
    by_endpoint: dict[int, list[LoadedModel]] = {}
    for row in LoadedModel.objects.filter(endpoint__host=host) if rows is None else rows:
        by_endpoint.setdefault(row.endpoint_id, []).append(row)
    claims: list[Claim] = []
    pids: dict[int, frozenset[int]] = {}
    if endpoints is None:
        endpoints = Endpoint.objects.filter(host=host).select_related("host")
    for endpoint in endpoints:
        listed = by_endpoint.get(endpoint.pk, [])
        found = processes_of(endpoint, [row.name for row in listed], sample)
        if found is not None:
            pids[endpoint.pk] = found.pids
        by_model = {**found.by_model, **_by_rank(found, listed, sample)} if found else {}
        claims += [_claim(row, by_model.get(row.name, frozenset())) for row in listed]
    return divide(sample, claims, pids)


def _by_rank(found: EndpointProcesses, rows: Iterable[LoadedModel], sample: HostSample) -> dict[str, frozenset[int]]:
    """As many processes as models, and nothing tells which is whose: the one that holds most serves the largest.

    Two models that are confused by this are of about the same size.
    """
    unknown = [row for row in rows if row.name not in found.by_model]
    held = {pid: sum(held_by(frozenset({pid}), sample).values()) for pid in found.unassigned}
    if len(unknown) != len(held):
        return {}
    by_claim = sorted(unknown, key=lambda row: row.vram_bytes or row.size_bytes or 0)
    by_held = sorted(held, key=lambda pid: held[pid])
    return {row.name: frozenset({pid}) for row, pid in zip(by_claim, by_held, strict=True)}


def _claim(row: LoadedModel, pids: frozenset[int]) -> Claim:
    return Claim(
        key=row.pk,
        endpoint_id=row.endpoint_id,
        pids=pids,
        risen_bytes=row.gpu_bytes if row.attributed_by == By.GPU else {},
        claimed_bytes=row.vram_bytes,
    )


def model_bytes(
    endpoint: Endpoint, name: str, sample: HostSample, observation: Observation | None = None
) -> dict[str, int] | None:
    """Bytes by GPU's UUID that the processes of one model hold; ``None`` where processes do not tell.

    An empty mapping says that no process of the endpoint holds anything for it, so that an unload can be verified.
    ``observation`` is what the endpoint says now, where that is newer than the rows.
    """
    pids = model_pids(endpoint, name, sample, observation)
    return None if pids is None else held_by(pids, sample)


def model_pids(
    endpoint: Endpoint, name: str, sample: HostSample, observation: Observation | None = None
) -> frozenset[int] | None:
    """The processes of one model, as ``model_bytes`` counts them; ``None`` where processes do not tell."""
    listed = [model.name for model in observation.resident] if observation else loaded_names(endpoint)
    found = _visible_processes(endpoint, sample, {*listed, name}, observation)
    if found is None or (name not in found.by_model and found.unassigned):
        return None
    return found.by_model.get(name, frozenset())


def endpoint_bytes(endpoint: Endpoint, sample: HostSample) -> dict[str, int] | None:
    """Bytes by GPU's UUID that all processes of an endpoint hold; ``None`` where processes do not tell."""
    found = _visible_processes(endpoint, sample, loaded_names(endpoint))
    return None if found is None else held_by(found.pids, sample)


def _visible_processes(
    endpoint: Endpoint, sample: HostSample, names: Iterable[str], observation: Observation | None = None
) -> EndpointProcesses | None:
    """``None`` also where a GPU does not answer or its driver hides a process's bytes."""
    if any(gpu.state is not GpuState.OK or attribute(gpu, {}).coverage is not Coverage.FULL for gpu in sample.gpus):
        return None
    return processes_of(endpoint, names, sample, observation) if sample.gpus else None


def held_by(pids: frozenset[int], sample: HostSample) -> dict[str, int]:
    """Bytes by GPU's UUID that processes hold; GPUs without any are left out."""
    owned = {gpu.uuid: attribute(gpu, {"ours": pids}).owner_bytes.get("ours", 0) for gpu in sample.gpus}
    return {uuid: held for uuid, held in owned.items() if held}
