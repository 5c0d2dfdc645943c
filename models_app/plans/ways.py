"""One way to load a candidate for a demand: the solver's option, with what it means to the endpoint."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from models_app.backends.protocol import LoadOptions
from models_app.estimator.speed import speed_at_gpu_share
from models_app.estimator.types import Grade
from models_app.operations.advising import layer_count_of
from models_app.operations.reckoned import Reckoning
from models_app.operations.refusals import RequestRefused
from models_app.operations.subject import Subject
from models_app.plans.demand import DemandSpec
from models_app.plans.fleet import Fleet, Pool, Server
from models_app.plans.naming import Candidate
from models_app.plans.records import RAM, Instance
from models_app.solver.types import Option

MOST_CONTEXTS = 4
CONTEXT_STEP = 256
BEST_QUALITY, VARIANT_COST, CONTEXT_COST = 10, 5, 3
TOKENS_OF_AN_ANSWER = 200
BYTES_A_SECOND = 600e9
"""Memory bandwidth of a common GPU: a token reads every weight once, so that this bounds the speed of an answer."""


@dataclass(frozen=True, slots=True)
class Way:
    """An option and what it means; ``loaded`` is what is in memory in this way already, at its measured size.

    ``only_gpu`` is the server's one GPU, by its place, where it has several and its command line names one.
    """

    option: Option
    server: Server
    candidate: Candidate
    grade: Grade | None
    loaded: Instance | None = None
    only_gpu: int | None = None

    @property
    def view(self) -> str:
        """The solver's endpoint: the server, or its one GPU that its command line names."""
        gpus = self.server.gpus
        return str(self.server.id) if self.only_gpu is None else f"{self.server.id}@{gpus[self.only_gpu]}"


@dataclass(frozen=True, slots=True)
class Case:
    """A demand and a candidate on a server; ``ranks`` is how many variants will do, ``load_seconds`` what a load takes.

    ``subjects`` keeps those of the cases that are alike, by context and slots.
    """

    spec: DemandSpec
    candidate: Candidate
    server: Server
    ranks: int
    load_seconds: float
    subjects: dict[tuple[int, int], Subject]

    @property
    def name(self) -> str:
        """The candidate, for people."""
        return f"{self.candidate.model} on {self.server.name}"

    def subject(self, context_length: int) -> Subject:
        """The candidate at a context, as far as its server lets it be chosen. Raises ``RequestRefused``."""
        known = self.subjects.get((context_length, self.spec.slots))
        if known is not None:
            return known
        wanted = LoadOptions(
            context_length=context_length if "context_length" in self.server.options else None,
            parallel=self.spec.slots if "parallel" in self.server.options else None,
        )
        self.subjects[context_length, self.spec.slots] = found = self.candidate.facts.subject(wanted)
        return found

    def contexts(self) -> tuple[list[int], str]:
        """The contexts to try, longest first, or in a sentence why there is none."""
        try:
            settings = self.subject(self.spec.least_context).settings
        except RequestRefused as refused:
            return [], f"{self.name}: {refused.message}"
        least = self.spec.least_context
        if settings.parallel < self.spec.slots:
            return [], f"{self.name} answers {settings.parallel} at a time; {self.spec.slots} slots are wanted."
        if "context_length" not in self.server.options:
            if settings.context_length >= least:
                return [settings.context_length], ""
            preset = f"{settings.context_length:,} tokens of context, as its server is configured"
            return [], _short(f"{self.name} starts with {preset}", least, settings.context_length)
        variant = self.candidate.facts.variant
        trained = variant.training_context_length if variant else None
        if trained and trained < least:
            return [], _short(f"{self.name} was trained for {trained:,} tokens", least, trained)
        return _halved(min(self.spec.context_length, trained or self.spec.context_length), least), ""

    def way(self, fleet: Fleet, subject: Subject, reckoning: Reckoning, size: int, layers: int | None = None) -> Way:
        """The way onto ``size`` GPUs (0 is the CPU alone), with ``layers`` of them there, ``None`` for all."""
        shares = _even(upper_shares(reckoning), [fleet.pool[uuid] for uuid in self.server.gpus]) if size else ()
        ram = reckoning.ram_bytes if size else (reckoning.needed_bytes or 0) + reckoning.error_bytes
        on_gpus = sum(shares) / max(1, sum(shares) + ram) if layers is not None or not size else 1.0
        context = subject.settings.context_length
        option = self._option(fleet, shares, ram, context, subject.settings.parallel, layers if size else 0)
        weights = max(reckoning.weights_bytes or 0, sum(shares))
        option = replace(option, latency_ms=_latency_ms(weights, on_gpus))
        return Way(option, self.server, self.candidate, reckoning.grade, only_gpu=_only_gpu(self.server, subject, size))

    def as_of(self, way: Way) -> Way:
        """The way of a case that is like this one, on this one's server."""
        return Way(way.option, self.server, self.candidate, way.grade, only_gpu=way.only_gpu)

    def as_loaded(self, fleet: Fleet, loaded: Instance) -> Way | None:
        """What is in memory, at its measured size; ``None`` where it does not do, or nobody knows where it lies."""
        context = loaded.context_length or self.spec.context_length
        slots = loaded.slots or self.candidate.facts.subject(LoadOptions()).settings.parallel
        if context < self.spec.least_context or slots < self.spec.slots:
            return None
        sizes = tuple(loaded.bytes[uuid] for uuid in loaded.gpus)
        if loaded.fixed:
            sizes = (0,) * len(self.server.gpus)
        elif not sizes and self.server.gpus and loaded.layers != 0:
            return None
        ram = 0 if loaded.fixed else loaded.bytes.get(RAM + self.server.host, 0)
        share = sum(sizes) / max(1, sum(sizes) + ram) if loaded.layers is not None else 1.0
        option = self._option(fleet, sizes, ram, context, slots, loaded.layers if sizes else 0)
        option = replace(option, latency_ms=_latency_ms(self.candidate.facts.size_bytes, share))
        return Way(option, self.server, self.candidate, None, loaded)

    def _option(
        self, fleet: Fleet, shares: tuple[int, ...], ram: int, context: int, slots: int, layers: int | None
    ) -> Option:
        return Option(
            variant=self.candidate.label,
            device_bytes=shares,
            host_ram_bytes=ram if RAM + self.server.host in fleet.pool else 0,
            context_length=context,
            slots=slots,
            gpu_layers=layers,
            quality=self._quality(context),
            load_seconds=self.load_seconds,
        )

    def _quality(self, context: int) -> int:
        """10 for the variant and context wanted; up to 5 less for the last variant, up to 3 for the least context."""
        wanted, least = self.spec.context_length, self.spec.least_context
        cost = VARIANT_COST * self.candidate.rank / max(1, self.ranks - 1)
        if context < wanted and least < wanted:
            cost += CONTEXT_COST * math.log(wanted / context) / math.log(wanted / least)
        return max(1, round(BEST_QUALITY - cost))


def preset_layers(subject: Subject) -> int | None:
    """How many layers the server's own settings put on the GPU; ``None`` for all."""
    layers, count = subject.settings.gpu_layers, layer_count_of(subject)
    return layers if layers is not None and (count is None or layers <= count) else None


def upper_shares(reckoning: Reckoning) -> list[int]:
    """The upper end of the error band on each device."""
    return [device.total_bytes + reckoning.error_share(device) for device in reckoning.devices]


def _short(why: str, least: int, most: int) -> str:
    """A context that is too short, and the one that would do."""
    return f"{why}; {least:,} are the least wanted. Accept {most:,}."


def _halved(longest: int, least: int) -> list[int]:
    contexts = [longest]
    while len(contexts) < MOST_CONTEXTS - 1 and contexts[-1] // 2 > least:
        contexts.append(max(CONTEXT_STEP, contexts[-1] // 2 // CONTEXT_STEP * CONTEXT_STEP))
    return list(dict.fromkeys([*contexts, least]))


def _latency_ms(weights_bytes: int, gpu_share: float) -> int:
    seconds = TOKENS_OF_AN_ANSWER * weights_bytes / BYTES_A_SECOND
    return round(1000 * seconds / speed_at_gpu_share(gpu_share).factor)


def _even(shares: list[int], pools: list[Pool]) -> tuple[int, ...]:
    """On GPUs of one size the largest share for all of them: which GPU gets it is not known before the load."""
    is_even = len({pool.total_bytes for pool in pools}) == 1
    return (max(shares),) * len(shares) if is_even else tuple(shares)


def _only_gpu(server: Server, subject: Subject, size: int) -> int | None:
    """The place of the one GPU that the server's command line names, where it sees several."""
    if size != 1 or subject.only_gpu is None or len(server.gpus) == 1:
        return None
    return min(subject.only_gpu, len(server.gpus) - 1)
