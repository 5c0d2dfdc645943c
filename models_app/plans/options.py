"""The ways to load what a demand speaks of: variant × context × device set × layers, each with its upper estimate.

Bounded: contexts are halved from the one wanted to the least, layers on the CPU are tried in quarters of the smallest
variant only, and a demand has at most ``MOST_OPTIONS``. What was left out is said. Estimates of equal loads are reckoned
once a process.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from models_app.backends.protocol import LoadOptions
from models_app.estimator.speed import speed_at_gpu_share
from models_app.estimator.types import EstimateError, Grade
from models_app.operations.advising import layer_count_of, layers_that_fit_on
from models_app.operations.reckoned import Reckoning
from models_app.operations.reckoning import reckon
from models_app.operations.refusals import RequestRefused
from models_app.operations.rooms import Room
from models_app.operations.subject import Subject, with_settings
from models_app.plans.demand import DemandSpec
from models_app.plans.fleet import Fleet, Pool, Server
from models_app.plans.loading import LoadTimes
from models_app.plans.naming import Candidate, Library
from models_app.plans.records import RAM, Instance
from models_app.solver.types import DeviceSets, Option

MOST_OPTIONS = 32
MOST_CONTEXTS = 4
CONTEXT_STEP = 256
QUARTERS = (0.75, 0.5, 0.25)
BEST_QUALITY, VARIANT_COST, CONTEXT_COST = 10, 5, 3
TOKENS_OF_AN_ANSWER = 200
BYTES_A_SECOND = 600e9
"""Memory bandwidth of a common GPU: a token reads every weight once, so that this bounds the speed of an answer."""
MOST_GPUS_OF_A_SET = 8


@dataclass(frozen=True, slots=True)
class Way:
    """An option with what it means: what to ask of the endpoint, and the grade of the evidence."""

    option: Option
    server: Server
    candidate: Candidate
    grade: Grade | None
    loaded: Instance | None = None


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
    """Enumerates for one fleet. ``library`` holds what is installed there."""

    def __init__(self, fleet: Fleet, library: Library, times: LoadTimes) -> None:
        self._fleet = fleet
        self._library = library
        self._times = times
        self._loaded: dict[tuple[int, str], Instance] = {(each.endpoint_id, each.model): each for each in fleet.loaded}

    def enumerate(self, spec: DemandSpec) -> Enumerated:
        """All options of a demand, none where nothing that is installed will do."""
        named = self._library.named(spec)
        found = Enumerated(left_out=list(named.left_out))
        ways: list[Way] = []
        for candidate in named.candidates:
            server = self._fleet.server.get(candidate.endpoint_id)
            if server is not None:
                ways += self._ways(spec, candidate, server, named.ranks, found.left_out)
        ways += self._spilled(spec, named.candidates, named.ranks)
        if spec.gpu_only and any(way.option.spills for way in ways):
            ways = [way for way in ways if not way.option.spills]
            if not ways:
                found.left_out.append("Every way to load it leaves layers to the CPU, and only GPUs will do.")
        merged = _merged(sorted(ways, key=_preference))
        if len(merged) > MOST_OPTIONS:
            found.left_out.append(f"{len(merged) - MOST_OPTIONS} more ways to load it.")
        for option, alike in merged[:MOST_OPTIONS]:
            found.options.append(option)
            found.ways |= {(option, way.server.id): way for way in alike}
            found.as_loaded |= {(way.server.id, way.candidate.model): option for way in alike if way.loaded}
        return found

    def _ways(
        self, spec: DemandSpec, candidate: Candidate, server: Server, ranks: int, left_out: list[str]
    ) -> Iterator[Way]:
        """What is loaded there as it is, then each context on each kind of device set."""
        loaded = self._loaded.get((server.id, candidate.model))
        if loaded is not None and (as_is := self._as_loaded(spec, candidate, server, ranks, loaded)):
            yield as_is
        if not server.can_load:
            return
        contexts, why = _contexts(spec, candidate, server)
        if why:
            left_out.append(why)
        for context in contexts:
            subject = _subject(candidate, server, context, spec.slots)
            layers = _preset_layers(subject)
            for size in [0] if layers == 0 else self._sizes(server, subject):
                reckoning = self._reckon(server, subject, size)
                if reckoning is None:
                    left_out.append(f"{candidate.model} on {server.name}: its size is not known.")
                    return
                yield self._way(spec, candidate, server, ranks, subject, reckoning, size, layers)

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
            need <= room for need, room in zip(sorted(_shares(reckoning), reverse=True), rooms, strict=False)
        )

    def _reckon(self, server: Server, subject: Subject, size: int) -> Reckoning | None:
        """The estimate for ``size`` GPUs of the server, the dearest of those that differ; ``None`` where it has none."""
        pools = [self._fleet.pool[uuid] for uuid in server.gpus]
        sets = [[]] if size == 0 else [pools[:size]] if size > 1 else [[pool] for pool in _kinds(pools)]
        found = [reckon(subject, [_room(pool) for pool in each]) for each in sets]
        if not found or not all(reckoning.devices for reckoning in found):
            return None
        return max(found, key=lambda reckoning: sum(_shares(reckoning)))

    def _way(
        self,
        spec: DemandSpec,
        candidate: Candidate,
        server: Server,
        ranks: int,
        subject: Subject,
        reckoning: Reckoning,
        size: int,
        layers: int | None = None,
    ) -> Way:
        shares = _even(_shares(reckoning), [self._fleet.pool[uuid] for uuid in server.gpus]) if size else ()
        ram = (reckoning.needed_bytes or 0) + reckoning.error_bytes if not size else reckoning.ram_bytes
        weights = reckoning.weights_bytes or 0
        share = sum(shares) / max(1, sum(shares) + ram) if layers is not None or not size else 1.0
        option = Option(
            variant=candidate.label,
            device_bytes=shares,
            host_ram_bytes=ram if RAM + server.host in self._fleet.pool else 0,
            context_length=subject.settings.context_length,
            slots=subject.settings.parallel,
            gpu_layers=layers if size else 0,
            quality=_quality(spec, candidate.rank, ranks, subject.settings.context_length),
            latency_ms=_latency_ms(max(weights, sum(shares)), share),
            load_seconds=self._times.seconds(server.id, candidate.model, candidate.facts.size_bytes),
            endpoints=frozenset({_view(server, subject, size)}),
        )
        return Way(option, server, candidate, reckoning.grade)

    def _as_loaded(
        self, spec: DemandSpec, candidate: Candidate, server: Server, ranks: int, loaded: Instance
    ) -> Way | None:
        """What is in memory, at what it was measured to take; where it stays, nothing has to be loaded."""
        context = loaded.context_length or spec.context_length
        slots = loaded.slots or candidate.facts.subject(LoadOptions()).settings.parallel
        if context < spec.least_context or slots < spec.slots:
            return None
        sizes = tuple(loaded.bytes[uuid] for uuid in loaded.gpus)
        if loaded.fixed:
            sizes = (0,) * len(server.gpus)
        elif not sizes and server.gpus and loaded.layers != 0:
            return None
        ram = 0 if loaded.fixed else loaded.bytes.get(RAM + server.host, 0)
        share = sum(sizes) / max(1, sum(sizes) + ram)
        option = Option(
            variant=candidate.label,
            device_bytes=sizes,
            host_ram_bytes=ram if RAM + server.host in self._fleet.pool else 0,
            context_length=context,
            slots=slots,
            gpu_layers=loaded.layers if sizes else 0,
            quality=_quality(spec, candidate.rank, ranks, context),
            latency_ms=_latency_ms(candidate.facts.size_bytes, share if loaded.layers is not None else 1.0),
            load_seconds=self._times.seconds(server.id, candidate.model, candidate.facts.size_bytes),
            endpoints=frozenset({str(server.id)}),
        )
        return Way(option, server, candidate, None, loaded)

    def _spilled(self, spec: DemandSpec, candidates: Iterable[Candidate], ranks: int) -> Iterator[Way]:
        """Layers on the CPU, where nothing else is left: the smallest variant of each server at the least context."""
        smallest: dict[int, Candidate] = {}
        for candidate in candidates:
            known = smallest.get(candidate.endpoint_id)
            if known is None or candidate.facts.size_bytes < known.facts.size_bytes:
                smallest[candidate.endpoint_id] = candidate
        for endpoint_id, candidate in smallest.items():
            server = self._fleet.server.get(endpoint_id)
            if server is None or not server.can_load or not server.gpus or "gpu_layers" not in server.options:
                continue
            contexts, _ = _contexts(spec, candidate, server)
            if contexts:
                yield from self._in_part(spec, candidate, server, ranks, contexts[-1])

    def _in_part(self, spec: DemandSpec, candidate: Candidate, server: Server, ranks: int, context: int) -> Iterator[Way]:
        subject = _subject(candidate, server, context, spec.slots)
        count = layer_count_of(subject)
        if count is None:
            return
        roomiest = max((self._fleet.pool[uuid] for uuid in server.gpus), key=lambda pool: pool.usable_bytes)
        wanted = {int(count * quarter) for quarter in QUARTERS}
        if not self._fits(server, subject, 1):
            wanted.add(layers_that_fit_on(subject, _room(roomiest)) or 0)
        for layers in sorted(wanted - {0}, reverse=True):
            part = with_settings(subject, replace(subject.settings, gpu_layers=layers))
            reckoning = self._reckon(server, part, 1)
            if reckoning is not None:
                yield self._way(spec, candidate, server, ranks, part, reckoning, 1, layers)
        on_cpu = with_settings(subject, replace(subject.settings, gpu_layers=0))
        try:
            reckoning = reckon(on_cpu, [])
        except EstimateError:
            return
        if reckoning.devices:
            yield self._way(spec, candidate, server, ranks, on_cpu, reckoning, 0, 0)


def _subject(candidate: Candidate, server: Server, context: int, slots: int) -> Subject:
    wanted = LoadOptions(
        context_length=context if "context_length" in server.options else None,
        parallel=slots if "parallel" in server.options else None,
    )
    return candidate.facts.subject(wanted)


def _preset_layers(subject: Subject) -> int | None:
    """How many layers the server's own settings put on the GPU; ``None`` for all."""
    layers, count = subject.settings.gpu_layers, layer_count_of(subject)
    return layers if layers is not None and (count is None or layers <= count) else None


def _contexts(spec: DemandSpec, candidate: Candidate, server: Server) -> tuple[list[int], str]:
    """The contexts to try, longest first, or in a sentence why there is none."""
    what = f"{candidate.model} on {server.name}"
    try:
        settings = _subject(candidate, server, spec.least_context, spec.slots).settings
    except RequestRefused as refused:
        return [], f"{what}: {refused.message}"
    if settings.parallel < spec.slots:
        return [], f"{what} answers {settings.parallel} at a time; {spec.slots} slots are wanted."
    if "context_length" not in server.options:
        if settings.context_length < spec.least_context:
            return [], (
                f"{what} starts with {settings.context_length:,} tokens of context, as its server is configured; "
                f"{spec.least_context:,} are the least wanted."
            )
        return [settings.context_length], ""
    variant = candidate.facts.variant
    trained = variant.training_context_length if variant else None
    if trained and trained < spec.least_context:
        return [], f"{what} was trained for {trained:,} tokens; {spec.least_context:,} are the least wanted."
    longest = min(spec.context_length, trained or spec.context_length)
    contexts = [longest]
    while len(contexts) < MOST_CONTEXTS - 1 and contexts[-1] // 2 > spec.least_context:
        contexts.append(max(CONTEXT_STEP, contexts[-1] // 2 // CONTEXT_STEP * CONTEXT_STEP))
    return list(dict.fromkeys([*contexts, spec.least_context])), ""


def _quality(spec: DemandSpec, rank: int, ranks: int, context: int) -> int:
    """10 for the variant and the context wanted; up to 5 less for the last variant, up to 3 for the least context."""
    cost = VARIANT_COST * rank / max(1, ranks - 1)
    if context < spec.context_length and spec.least_context < spec.context_length:
        cost += CONTEXT_COST * math.log(spec.context_length / context) / math.log(spec.context_length / spec.least_context)
    return max(1, round(BEST_QUALITY - cost))


def _latency_ms(weights_bytes: int, gpu_share: float) -> int:
    seconds = TOKENS_OF_AN_ANSWER * weights_bytes / BYTES_A_SECOND
    return round(1000 * seconds / speed_at_gpu_share(gpu_share).factor)


def _shares(reckoning: Reckoning) -> list[int]:
    """The upper end of the error band on each device."""
    return [device.total_bytes + reckoning.error_share(device) for device in reckoning.devices]


def _even(shares: list[int], pools: list[Pool]) -> tuple[int, ...]:
    """On GPUs of one size the largest share for all of them: which GPU gets it is not known before the load."""
    is_even = len({pool.total_bytes for pool in pools}) == 1
    return (max(shares),) * len(shares) if is_even else tuple(shares)


def _room(pool: Pool) -> Room:
    free = pool.usable_bytes + pool.headroom_bytes
    return Room(pool.id, pool.label, pool.total_bytes, free, 0, pool.headroom_bytes, 0, gpu_name=pool.name[:120])


def _kinds(pools: Iterable[Pool]) -> list[Pool]:
    """One GPU of each name and size."""
    return list({(pool.name, pool.total_bytes): pool for pool in pools}.values())


def _view(server: Server, subject: Subject, size: int) -> str:
    """The solver's endpoint: the server, or its one GPU that its command line names."""
    if size == 1 and subject.only_gpu is not None and len(server.gpus) > 1:
        return f"{server.id}@{server.gpus[min(subject.only_gpu, len(server.gpus) - 1)]}"
    return str(server.id)


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
