"""What a load takes on so many GPUs of a server, and on how many it may be offered. Equal loads are reckoned once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from models_app.operations.advising import layers_that_fit_on
from models_app.operations.reckoned import Reckoning
from models_app.operations.reckoning import reckon
from models_app.operations.rooms import Room
from models_app.operations.subject import Subject
from models_app.plans.fleet import Fleet, Pool, Server
from models_app.plans.ways import upper_shares
from models_app.solver.types import DeviceSets

MOST_GPUS_OF_A_SET = 8


class Sizes:
    """The estimates for one fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._reckoned: dict[Hashable, Reckoning | None] = {}

    def to_offer(self, server: Server, subject: Subject) -> list[int]:
        """How many GPUs a set may have. One that a server would not choose by itself is not offered."""
        count = min(len(server.gpus), MOST_GPUS_OF_A_SET)
        if count == 0:
            return [0]
        if server.sets == DeviceSets.WHOLE:
            return [1 if subject.only_gpu is not None else count]
        if self.fits(server, subject, 1) or count == 1:
            return [1]
        if server.sets == DeviceSets.ONE_OR_WHOLE:
            return [1, len(server.gpus)]
        enough = next((size for size in range(2, count) if self.fits(server, subject, size)), count)
        return sorted({1, enough, count})

    def fits(self, server: Server, subject: Subject, size: int) -> bool:
        """Whether the roomiest GPUs would hold it if nothing else were loaded."""
        reckoning = self.reckon(server, subject, size)
        rooms = sorted((self._fleet.pool[uuid].usable_bytes for uuid in server.gpus), reverse=True)
        return reckoning is not None and all(
            need <= room for need, room in zip(sorted(upper_shares(reckoning), reverse=True), rooms, strict=False)
        )

    def layers_that_fit(self, server: Server, subject: Subject) -> set[int]:
        """The most layers that the roomiest GPU holds, where it cannot hold all of them; else none."""
        if self.fits(server, subject, 1):
            return set()
        roomiest = max((self._fleet.pool[uuid] for uuid in server.gpus), key=lambda pool: pool.usable_bytes)
        return {layers_that_fit_on(subject, room_of(roomiest)) or 0}

    def reckon(self, server: Server, subject: Subject, size: int) -> Reckoning | None:
        """The estimate for ``size`` GPUs of the server, once for all servers that are alike."""
        pools = [self._fleet.pool[uuid] for uuid in server.gpus] if size else []
        gpus = tuple((pool.name, pool.total_bytes, pool.usable_bytes if size > 1 else 0) for pool in pools)
        variant = subject.variant.pk if subject.variant else None
        loaded_as = (variant, subject.size_bytes, subject.settings, subject.profile, subject.companions, server.kind)
        if (*loaded_as, size, gpus) not in self._reckoned:
            self._reckoned[*loaded_as, size, gpus] = self._dearest(pools, subject, size)
        return self._reckoned[*loaded_as, size, gpus]

    def _dearest(self, pools: list[Pool], subject: Subject, size: int) -> Reckoning | None:
        """Of the GPUs that differ, the estimate that takes most; ``None`` where there is none."""
        sets = [[]] if size == 0 else [pools[:size]] if size > 1 else [[pool] for pool in _kinds(pools)]
        found = [reckon(subject, [room_of(pool) for pool in each]) for each in sets]
        if not found or not all(reckoning.devices for reckoning in found):
            return None
        return max(found, key=lambda reckoning: sum(upper_shares(reckoning)))


def room_of(pool: Pool) -> Room:
    """A pool as estimates know it."""
    free = pool.usable_bytes + pool.headroom_bytes
    return Room(pool.id, pool.label, pool.total_bytes, free, 0, pool.headroom_bytes, 0, gpu_name=pool.name[:120])


def _kinds(pools: Iterable[Pool]) -> list[Pool]:
    """One GPU of each name and size."""
    return list({(pool.name, pool.total_bytes): pool for pool in pools}.values())
