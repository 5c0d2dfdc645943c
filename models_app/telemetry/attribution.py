"""Whose bytes they are: a host's sample merged with the models that its endpoints report.

In the order of trust: by process (the driver shows what the model's own process holds), by the rise measured while Berth
loaded it, by the endpoint's own claim. The parts of a GPU's used bytes add up to it; none is negative, none is invented.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from models_app.backends.protocol import Observation
from models_app.inventory.models import Endpoint, Host, LoadedModel
from models_app.probes.attribution import Attribution, Coverage, attribute
from models_app.probes.types import GpuSample, GpuState, HostSample
from models_app.telemetry.processes import EndpointProcesses, loaded_names, processes_of


class By(StrEnum):
    """How the bytes of a model are known."""

    PROCESS = "process"
    GPU = "gpu"
    ENDPOINT = "endpoint"


@dataclass(frozen=True, slots=True)
class Claim:
    """A loaded model as the rows and the process list know it.

    ``key`` is its row's id. ``pids`` are the processes that serve it and nothing else. ``risen_bytes`` is the rise by GPU's
    UUID that was measured while Berth loaded it; ``claimed_bytes`` is the endpoint's own figure for all GPUs together.
    """

    key: int
    endpoint_id: int
    pids: frozenset[int] = frozenset()
    risen_bytes: Mapping[str, int] = field(default_factory=dict)
    claimed_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ModelShare:
    """A model's bytes on one GPU, and how they are known."""

    bytes: int
    by: By


@dataclass(frozen=True, slots=True)
class GpuShares:
    """One GPU's used bytes, divided: ``models`` by the claim's key, ``others`` by program, and what nobody accounts for."""

    uuid: str
    used_bytes: int
    models: dict[int, ModelShare]
    others: dict[str, int]
    unexplained_bytes: int
    coverage: Coverage


Shares = dict[str, GpuShares]
"""By GPU's UUID."""

_Owner = tuple[str, int]
"""``("model", key)`` or ``("endpoint", id)``."""


def divide(sample: HostSample, claims: Iterable[Claim], pids: Mapping[int, frozenset[int]] | None = None) -> Shares:
    """Every GPU's used bytes, divided. ``pids`` are all processes of an endpoint, by its id, where they are known."""
    claims = list(claims)
    by_process = {gpu.uuid: _by_process(gpu, claims, pids or {}) for gpu in sample.gpus}
    for claim in claims:
        _fill(claim, by_process)
    return {uuid: division.shares() for uuid, division in by_process.items()}


@dataclass(slots=True)
class _Division:
    """One GPU while it is being divided. ``pools`` are the bytes of each endpoint that no model's own process holds."""

    attribution: Attribution[_Owner]
    uuid: str
    models: dict[int, ModelShare]
    pools: dict[int, int]
    unexplained_bytes: int

    def room_bytes(self, endpoint_id: int) -> int:
        """What a model of the endpoint may still be given here."""
        return self.pools.get(endpoint_id, 0) + self.unexplained_bytes

    def give(self, claim: Claim, count_bytes: int, by: By) -> None:
        """Give a model these bytes, as far as there are any: first from its endpoint's processes."""
        pooled = min(count_bytes, self.pools.get(claim.endpoint_id, 0))
        unexplained = min(count_bytes - pooled, self.unexplained_bytes)
        if pooled + unexplained > 0:
            self.models[claim.key] = ModelShare(pooled + unexplained, by)
            self.pools[claim.endpoint_id] = self.pools.get(claim.endpoint_id, 0) - pooled
            self.unexplained_bytes -= unexplained

    def shares(self) -> GpuShares:
        """The division as it stands; what is left of an endpoint's pool is unexplained."""
        left_bytes = sum(self.pools.values()) + self.unexplained_bytes
        attribution = self.attribution
        others = dict(attribution.other_bytes)
        return GpuShares(self.uuid, attribution.used_bytes, self.models, others, left_bytes, attribution.coverage)


def _by_process(gpu: GpuSample, claims: list[Claim], pids: Mapping[int, frozenset[int]]) -> _Division:
    owners: dict[_Owner, Iterable[int]] = {("model", claim.key): claim.pids for claim in claims}
    owners |= {("endpoint", endpoint_id): found for endpoint_id, found in pids.items()}
    attribution = attribute(gpu, owners)
    held = attribution.owner_bytes
    return _Division(
        attribution=attribution,
        uuid=gpu.uuid,
        models={key: ModelShare(count, By.PROCESS) for (kind, key), count in held.items() if kind == "model"},
        pools={key: count for (kind, key), count in held.items() if kind == "endpoint"},
        unexplained_bytes=attribution.unexplained_bytes,
    )


def _fill(claim: Claim, divisions: Mapping[str, _Division]) -> None:
    """Give a model without a process of its own what was measured at its load, else what its endpoint claims."""
    if claim.pids:
        return
    risen = {uuid: risen for uuid, risen in claim.risen_bytes.items() if uuid in divisions and risen > 0}
    if risen:
        for uuid, risen_bytes in risen.items():
            divisions[uuid].give(claim, risen_bytes, By.GPU)
        return
    rooms = {uuid: division.room_bytes(claim.endpoint_id) for uuid, division in divisions.items()}
    claimed_bytes = min(claim.claimed_bytes or 0, sum(rooms.values()))
    for uuid, part_bytes in _split(claimed_bytes, rooms).items():
        divisions[uuid].give(claim, part_bytes, By.ENDPOINT)


def _split(count_bytes: int, rooms: Mapping[str, int]) -> dict[str, int]:
    """On one GPU that has the room, the roomiest first; over all in proportion where none has."""
    roomiest = max(rooms, key=lambda uuid: rooms[uuid], default=None)
    if roomiest is None or count_bytes <= 0:
        return {}
    if rooms[roomiest] >= count_bytes:
        return {roomiest: count_bytes}
    total_bytes = sum(rooms.values())
    return {uuid: count_bytes * room // total_bytes for uuid, room in rooms.items()}


def shares_of(
    host: Host,
    sample: HostSample,
    rows: Iterable[LoadedModel] | None = None,
    endpoints: Iterable[Endpoint] | None = None,
) -> Shares:
    """The same for the models that the rows list on the host's endpoints; keys are their ids."""
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
    found = _visible_processes(endpoint, sample, {*loaded_names(endpoint), name}, observation)
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
