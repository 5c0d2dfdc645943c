"""The ways to load what a demand speaks of: variant × context × device set × layers, each with its upper estimate.

Bounded: contexts are halved from the one wanted to the least, layers on the CPU are tried in quarters of the smallest
variant only, and a demand has at most ``MOST_OPTIONS``. What was left out is said. What is alike is reckoned once: cases of
a demand, and estimates of equal loads in the whole process.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from models_app.operations.advising import layer_count_of
from models_app.operations.subject import with_settings
from models_app.plans.alike import Likeness
from models_app.plans.demand import DemandSpec
from models_app.plans.fleet import Fleet
from models_app.plans.loading import LoadTimes
from models_app.plans.naming import Candidate, Library, Named
from models_app.plans.records import Instance
from models_app.plans.sizes import Sizes
from models_app.plans.ways import Case, Way, preset_layers
from models_app.solver.types import Option

MOST_OPTIONS = 32
QUARTERS = (0.75, 0.5, 0.25)
CPU_ONLY_REFUSED = "Every way to load it leaves layers to the CPU, and only GPUs will do."


@dataclass(slots=True)
class Enumerated:
    """A demand's options in order of preference, what each means by the endpoint's id, and what was left out.

    ``as_loaded`` are the options of what is in memory, by the endpoint's id and the model's name there.
    """

    options: list[Option] = field(default_factory=list)
    ways: dict[Option, dict[int, Way]] = field(default_factory=dict)
    as_loaded: dict[tuple[int, str], Option] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


class Enumerator:
    """Enumerates for one fleet. ``library`` holds what is installed there, ``times`` what loads took."""

    def __init__(self, fleet: Fleet, library: Library, times: LoadTimes) -> None:
        self._fleet = fleet
        self._library = library
        self._times = times
        self._likeness = Likeness(fleet)
        self._sizes = Sizes(fleet)
        self._loaded: dict[tuple[int, str], Instance] = {(each.endpoint_id, each.model): each for each in fleet.loaded}

    def enumerate(self, spec: DemandSpec) -> Enumerated:
        """All options of a demand, none where nothing that is installed will do."""
        named = self._library.named(spec)
        found = Enumerated(left_out=list(named.left_out))
        cases = list(self._cases(spec, named))
        ways = [way for case in cases for way in self._as_loaded(case)]
        ways += self._shared(cases, lambda case: self._ways(case, found.left_out))
        if not (spec.gpu_only and ways):
            ways += self._shared(_smallest(cases), self._spilled)
        if spec.gpu_only and any(way.option.spills for way in ways):
            ways = [way for way in ways if not way.option.spills]
            found.left_out += [CPU_ONLY_REFUSED] * (not ways)
        merged = _merged(sorted(ways, key=_preference))
        if len(merged) > MOST_OPTIONS:
            found.left_out.append(f"{len(merged) - MOST_OPTIONS} more ways to load it.")
        for option, alike in merged[:MOST_OPTIONS]:
            found.options.append(option)
            found.ways[option] = {way.server.id: way for way in alike}
            found.as_loaded |= {(way.server.id, way.candidate.model): option for way in alike if way.loaded}
        return found

    def _cases(self, spec: DemandSpec, named: Named) -> Iterator[Case]:
        for candidate in named.candidates:
            server = self._fleet.server.get(candidate.endpoint_id)
            if server is not None:
                seconds = self._times.seconds(server.id, candidate.model, candidate.facts.size_bytes)
                subjects = self._likeness.subjects(server, candidate.facts)
                yield Case(spec, candidate, server, named.ranks, seconds, subjects)

    def _shared(self, cases: Iterable[Case], enumerate_ways: Callable[[Case], Iterable[Way]]) -> Iterator[Way]:
        """The ways of all cases, enumerated for one of those that are alike. One without any tells why, so it is asked."""
        known: dict[Hashable, list[Way]] = {}
        for case in cases:
            key = self._likeness.of(case)
            if known.get(key):
                yield from (case.as_of(way) for way in known[key])
            else:
                known[key] = list(enumerate_ways(case))
                yield from known[key]

    def _as_loaded(self, case: Case) -> Iterator[Way]:
        """What is in memory, as it is."""
        loaded = self._loaded.get((case.server.id, case.candidate.model))
        if loaded is not None and (as_is := case.as_loaded(self._fleet, loaded)):
            yield as_is

    def _ways(self, case: Case, left_out: list[str]) -> Iterator[Way]:
        """Each context on each kind of device set."""
        if not case.server.can_load:
            return
        contexts, why = case.contexts()
        if why:
            left_out.append(why)
        for context in contexts:
            subject = case.subject(context)
            layers = preset_layers(subject)
            for size in [0] if layers == 0 else self._sizes.to_offer(case.server, subject):
                reckoning = self._sizes.reckon(case.server, subject, size)
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
        wanted = {int(count * quarter) for quarter in QUARTERS} | self._sizes.layers_that_fit(server, subject)
        for layers in sorted({*wanted, 0}, reverse=True):
            part = with_settings(subject, replace(subject.settings, gpu_layers=layers))
            reckoning = self._sizes.reckon(server, part, 1 if layers else 0)
            if reckoning is not None:
                yield case.way(self._fleet, part, reckoning, 1 if layers else 0, layers)


def _smallest(cases: Iterable[Case]) -> list[Case]:
    """The smallest candidate of each server."""
    found: dict[int, Case] = {}
    for case in cases:
        known: Candidate | None = found[case.server.id].candidate if case.server.id in found else None
        if known is None or case.candidate.facts.size_bytes < known.facts.size_bytes:
            found[case.server.id] = case
    return list(found.values())


def _preference(way: Way) -> tuple[bool, int, int, int]:
    """GPUs before the CPU, the better quality, what is loaded already, fewer devices."""
    return way.option.spills, -way.option.quality, 0 if way.loaded else 1, len(way.option.device_bytes)


def _merged(ways: Iterable[Way]) -> list[tuple[Option, list[Way]]]:
    """Ways that differ only in the endpoint become one option of several endpoints."""
    groups: dict[Option, list[Way]] = {}
    for way in ways:
        groups.setdefault(way.option, []).append(way)
    return [(replace(option, endpoints=frozenset(way.view for way in alike)), alike) for option, alike in groups.items()]
