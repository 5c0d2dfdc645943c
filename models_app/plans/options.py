"""The ways to load what a demand speaks of: variant × context × device set × layers, each with its upper estimate.

Bounded: contexts are halved from the one wanted to the least, layers on the CPU are tried in quarters of the smallest
variant only, and a demand has at most ``MOST_OPTIONS``. What was left out is said. Estimates of equal loads are reckoned
once a process.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from models_app.operations.advising import layer_count_of, layers_that_fit_on
from models_app.operations.reckoned import Reckoning
from models_app.operations.reckoning import reckon
from models_app.operations.rooms import Room
from models_app.operations.subject import Subject, with_settings
from models_app.plans.demand import DemandSpec
from models_app.plans.fleet import Fleet, Pool, Server
from models_app.plans.loading import LoadTimes
from models_app.plans.naming import Candidate, Library, Named
from models_app.plans.records import Instance
from models_app.plans.ways import Case, Way, preset_layers, upper_shares
from models_app.solver.types import DeviceSets, Option

MOST_OPTIONS = 32
QUARTERS = (0.75, 0.5, 0.25)
MOST_GPUS_OF_A_SET = 8
CPU_ONLY_REFUSED = "Every way to load it leaves layers to the CPU, and only GPUs will do."


@dataclass(slots=True)
class Enumerated:
    """A demand's options in order of preference, their meaning by (option, endpoint), and what was left out.

    ``as_loaded`` are the options of what is in memory, by the endpoint's id and the model's name there.
    """

    options: list[Option] = field(default_factory=list)
    ways: dict[tuple[Option, int], Way] = field(default_factory=dict)
    as_loaded: dict[tuple[int, str], Option] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


class Enumerator:
    """Enumerates for one fleet. ``library`` holds what is installed there, ``times`` what loads took."""

    def __init__(self, fleet: Fleet, library: Library, times: LoadTimes) -> None:
        self._fleet = fleet
        self._library = library
        self._times = times
        self._reckoned: dict[Hashable, Reckoning | None] = {}
        self._loaded: dict[tuple[int, str], Instance] = {(each.endpoint_id, each.model): each for each in fleet.loaded}

    def enumerate(self, spec: DemandSpec) -> Enumerated:
        """All options of a demand, none where nothing that is installed will do."""
        named = self._library.named(spec)
        found = Enumerated(left_out=list(named.left_out))
        cases = list(self._cases(spec, named))
        ways = [way for case in cases for way in self._ways(case, found.left_out)]
        ways += [way for case in _smallest(cases) for way in self._spilled(case)]
        if spec.gpu_only and any(way.option.spills for way in ways):
            ways = [way for way in ways if not way.option.spills]
            found.left_out += [CPU_ONLY_REFUSED] * (not ways)
        merged = _merged(sorted(ways, key=_preference))
        if len(merged) > MOST_OPTIONS:
            found.left_out.append(f"{len(merged) - MOST_OPTIONS} more ways to load it.")
        for option, alike in merged[:MOST_OPTIONS]:
            found.options.append(option)
            found.ways |= {(option, way.server.id): way for way in alike}
            found.as_loaded |= {(way.server.id, way.candidate.model): option for way in alike if way.loaded}
        return found

    def _cases(self, spec: DemandSpec, named: Named) -> Iterator[Case]:
        for candidate in named.candidates:
            server = self._fleet.server.get(candidate.endpoint_id)
            if server is not None:
                seconds = self._times.seconds(server.id, candidate.model, candidate.facts.size_bytes)
                yield Case(spec, candidate, server, named.ranks, seconds)

    def _ways(self, case: Case, left_out: list[str]) -> Iterator[Way]:
        """What is loaded there as it is, then each context on each kind of device set."""
        loaded = self._loaded.get((case.server.id, case.candidate.model))
        if loaded is not None and (as_is := case.as_loaded(self._fleet, loaded)):
            yield as_is
        if not case.server.can_load:
            return
        contexts, why = case.contexts()
        if why:
            left_out.append(why)
        for context in contexts:
            subject = case.subject(context)
            layers = preset_layers(subject)
            for size in [0] if layers == 0 else self._sizes(case.server, subject):
                reckoning = self._reckon(case.server, subject, size)
                if reckoning is None:
                    left_out.append(f"{case.name}: its size is not known.")
                    return
                yield case.way(self._fleet, subject, reckoning, size, layers)

    def _spilled(self, case: Case) -> Iterator[Way]:
        """Layers on the CPU, where nothing else is left, at the least context."""
        server = case.server
        contexts, _ = case.contexts() if server.can_load and server.gpus and "gpu_layers" in server.options else ([], "")
        subject = case.subject(contexts[-1]) if contexts else None
        count = layer_count_of(subject) if subject else None
        if subject is None or count is None:
            return
        wanted = {int(count * quarter) for quarter in QUARTERS}
        if not self._fits(server, subject, 1):
            roomiest = max((self._fleet.pool[uuid] for uuid in server.gpus), key=lambda pool: pool.usable_bytes)
            wanted.add(layers_that_fit_on(subject, room_of(roomiest)) or 0)
        for layers in sorted({*wanted, 0}, reverse=True):
            part = with_settings(subject, replace(subject.settings, gpu_layers=layers))
            reckoning = self._reckon(server, part, 1 if layers else 0)
            if reckoning is not None:
                yield case.way(self._fleet, part, reckoning, 1 if layers else 0, layers)

    def _sizes(self, server: Server, subject: Subject) -> list[int]:
        """How many GPUs a set may have. One that a server would not choose by itself is not offered."""
        count = min(len(server.gpus), MOST_GPUS_OF_A_SET)
        if count == 0:
            return [0]
        if server.sets == DeviceSets.WHOLE:
            return [1 if subject.only_gpu is not None else count]
        if self._fits(server, subject, 1) or count == 1:
            return [1]
        if server.sets == DeviceSets.ONE_OR_WHOLE:
            return [1, len(server.gpus)]
        enough = next((size for size in range(2, count) if self._fits(server, subject, size)), count)
        return sorted({1, enough, count})

    def _fits(self, server: Server, subject: Subject, size: int) -> bool:
        """Whether the roomiest GPUs would hold it if nothing else were loaded."""
        reckoning = self._reckon(server, subject, size)
        rooms = sorted((self._fleet.pool[uuid].usable_bytes for uuid in server.gpus), reverse=True)
        return reckoning is not None and all(
            need <= room for need, room in zip(sorted(upper_shares(reckoning), reverse=True), rooms, strict=False)
        )

    def _reckon(self, server: Server, subject: Subject, size: int) -> Reckoning | None:
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


def _smallest(cases: Iterable[Case]) -> list[Case]:
    """The smallest candidate of each server."""
    found: dict[int, Case] = {}
    for case in cases:
        known: Candidate | None = found[case.server.id].candidate if case.server.id in found else None
        if known is None or case.candidate.facts.size_bytes < known.facts.size_bytes:
            found[case.server.id] = case
    return list(found.values())


def room_of(pool: Pool) -> Room:
    """A pool as estimates know it."""
    free = pool.usable_bytes + pool.headroom_bytes
    return Room(pool.id, pool.label, pool.total_bytes, free, 0, pool.headroom_bytes, 0, gpu_name=pool.name[:120])


def _kinds(pools: Iterable[Pool]) -> list[Pool]:
    """One GPU of each name and size."""
    return list({(pool.name, pool.total_bytes): pool for pool in pools}.values())


def _preference(way: Way) -> tuple[bool, int, int, int]:
    """GPUs before the CPU, the better quality, what is loaded already, fewer devices."""
    return way.option.spills, -way.option.quality, 0 if way.loaded else 1, len(way.option.device_bytes)


def _merged(ways: Iterable[Way]) -> list[tuple[Option, list[Way]]]:
    """Ways that differ only in the endpoint become one option of several endpoints."""
    groups: dict[Option, list[Way]] = {}
    for way in ways:
        groups.setdefault(replace(way.option, endpoints=None), []).append(way)
    merged = []
    for option, alike in groups.items():
        views = frozenset[str]().union(*(way.option.endpoints or frozenset() for way in alike))
        merged.append((replace(option, endpoints=views), alike))
    return merged
