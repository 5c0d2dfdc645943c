"""A GPU's used bytes, divided among models, other programs and the unexplained: a sample and claims in, shares out.

In the order of trust: by process (the driver shows what the model's own process holds), by the rise measured while Berth
loaded it, by the endpoint's own claim. The parts of a GPU's used bytes add up to it; none is negative, none is invented.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from models_app.probes.attribution import Attribution, Coverage, attribute
from models_app.probes.types import GpuSample, HostSample


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
