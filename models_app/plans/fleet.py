"""The fleet as a plan was made for it: memory pools, servers and what was loaded, as values that a row can keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from models_app.plans.records import Instance, instances


@dataclass(frozen=True, slots=True)
class Pool:
    """A memory pool. ``id`` is the GPU's UUID, or ``ram:`` and the host; ``kind`` a value of ``solver.types.DeviceKind``.

    ``others_bytes`` are used and belong to no model that may be moved; ``headroom_bytes`` stay free.
    """

    id: str
    host: str
    kind: str
    label: str
    name: str
    total_bytes: int
    reserved_bytes: int = 0
    headroom_bytes: int = 0
    others_bytes: int = 0
    index: int = 0

    @property
    def is_gpu(self) -> bool:
        """Whether layers can be put here."""
        return self.kind != "host_ram"

    @property
    def usable_bytes(self) -> int:
        """What all models together may take."""
        return max(0, self.total_bytes - self.reserved_bytes - self.headroom_bytes - self.others_bytes)


@dataclass(frozen=True, slots=True)
class Server:
    """An endpoint and what it can be told. ``gpus`` are those it sees, ``sets`` is one of ``solver.types.DeviceSets``."""

    id: int
    name: str
    host: str
    kind: str
    mode: str
    gpus: tuple[str, ...]
    sets: str
    copies: bool
    options: tuple[str, ...]
    can_load: bool
    can_unload: bool
    max_models: int | None = None


@dataclass(frozen=True)
class Fleet:
    """``loaded`` is what is in memory, ``left_out`` says in sentences what could not be planned with."""

    pools: tuple[Pool, ...]
    servers: tuple[Server, ...]
    loaded: tuple[Instance, ...]
    left_out: tuple[str, ...] = ()

    @cached_property
    def pool(self) -> dict[str, Pool]:
        """Pools by id."""
        return {pool.id: pool for pool in self.pools}

    @cached_property
    def server(self) -> dict[int, Server]:
        """Servers by the endpoint's id."""
        return {server.id: server for server in self.servers}

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of the hosts, in order."""
        return tuple(dict.fromkeys([*(pool.host for pool in self.pools), *(server.host for server in self.servers)]))

    def gpus(self, host: str) -> tuple[Pool, ...]:
        """The host's GPUs, in the order of their index."""
        return tuple(sorted((p for p in self.pools if p.host == host and p.is_gpu), key=lambda pool: pool.index))

    def row(self) -> dict[str, Any]:
        """The fleet as plain JSON."""
        return asdict(self)


def fleet_of(row: Mapping[str, Any]) -> Fleet:
    """The fleet that ``Fleet.row`` wrote; an empty one for an empty row."""
    return Fleet(
        tuple(Pool(**each) for each in row.get("pools", ())),
        tuple(_server(each) for each in row.get("servers", ())),
        instances(row.get("loaded", ())),
        tuple(row.get("left_out", ())),
    )


def label_of(pools: Mapping[str, Pool], ids: Iterable[str]) -> str:
    """Where something is, for people: ``atlas · GPU 0 + GPU 1``."""
    found = [pools[each] for each in ids if each in pools]
    hosts = dict.fromkeys(pool.host for pool in found)
    return f"{', '.join(hosts)} · {' + '.join(pool.label for pool in found)}" if found else ""


def _server(row: Mapping[str, Any]) -> Server:
    return Server(**{**row, "gpus": tuple(row["gpus"]), "options": tuple(row["options"])})
