"""Whether a model will fit: a quick estimate against what is measured free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from models_app.backends.protocol import LoadOptions
from models_app.inventory.models import Endpoint, LoadedModel, Residency
from models_app.operations.reckoning import Reckoning, reckon
from models_app.operations.rooms import Room, bytes_of, placed, rooms
from models_app.operations.wording import gib
from models_app.probes.types import HostSample
from models_app.telemetry.sources import sample_now


class Verdict(StrEnum):
    """The answer of a preview."""

    FITS = "fits"
    DOES_NOT_FIT = "does_not_fit"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Freeable:
    """A loaded model of the endpoint, not pinned, whose unloading would free ``gpu_bytes``."""

    loaded_model_id: int
    name: str
    gpu_bytes: int


@dataclass(frozen=True, slots=True)
class FitPreview:
    """The reckoning. Terms are ``None`` where unknown, and ``unknown`` says in words what is; all figures are bytes.

    ``needed_bytes`` is the sum of the known terms on the devices, the truth expected within ± ``error_bytes``.
    ``shortfall_bytes`` is what is missing, 0 where it fits. ``would_free`` are the models, largest first, that together
    would make room; empty where none are needed or even all of them would not do.
    """

    verdict: Verdict
    sentence: str
    weights_bytes: int | None
    kv_bytes: int | None
    overhead_bytes: int
    needed_bytes: int | None
    error_bytes: int
    context_length: int
    rooms: tuple[Room, ...]
    shortfall_bytes: int = 0
    would_free: tuple[Freeable, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def chosen(self) -> tuple[Room, ...]:
        """The devices that the load is expected to land on."""
        return tuple(room for room in self.rooms if room.take_bytes)

    @property
    def model_bytes(self) -> int | None:
        """Weights and KV cache on the devices; ``None`` where the weights are unknown."""
        return None if self.weights_bytes is None else self.weights_bytes + (self.kv_bytes or 0)

    def as_row(self) -> dict[str, Any]:
        """What an operation keeps of it."""
        return {
            "verdict": self.verdict.value,
            "sentence": self.sentence,
            "weights_bytes": self.weights_bytes,
            "kv_bytes": self.kv_bytes,
            "overhead_bytes": self.overhead_bytes,
            "needed_bytes": self.needed_bytes,
            "model_bytes": self.model_bytes,
            "error_bytes": self.error_bytes,
            "context_length": self.context_length,
            "shortfall_bytes": self.shortfall_bytes,
            "devices": {room.uuid: room.take_bytes for room in self.chosen},
            "unknown": list(self.unknown),
        }


def fit_preview(
    endpoint: Endpoint,
    model: str,
    options: LoadOptions,
    *,
    unload: Sequence[LoadedModel] = (),
    sample: HostSample | None = None,
    operation_id: int = 0,
) -> FitPreview:
    """Whether ``model`` fits on ``endpoint`` with ``options`` once ``unload`` are gone.

    ``model`` is the endpoint's own name for it. ``sample`` defaults to a fresh sweep of the host; reservations of
    ``operation_id`` are its own and do not count. A model without known numbers has the verdict ``unknown``. Raises
    ``RequestRefused`` (``invalid_option``) for options that contradict each other.
    """
    reckoning = reckon(endpoint, model, options)
    sample = sample or sample_now(endpoint.host)
    devices = rooms(sample, unload, operation_id) if sample else []
    if not devices or reckoning.needed_bytes is None:
        return _undecided(reckoning, devices)
    needed_bytes = reckoning.needed_bytes + (0 if devices[0].uuid else reckoning.ram_bytes)
    taken, shortfall_bytes = placed(devices, needed_bytes, reckoning.overhead_bytes, options.gpu)
    verdict = _verdict(reckoning, shortfall_bytes, taken)
    would_free = _would_free(endpoint, model, unload, taken, shortfall_bytes) if shortfall_bytes else ()
    sentence = _sentence(verdict, needed_bytes, shortfall_bytes, taken)
    return _preview(reckoning, verdict, sentence, taken, needed_bytes, shortfall_bytes, would_free)


def _verdict(reckoning: Reckoning, shortfall_bytes: int, taken: Sequence[Room]) -> Verdict:
    """What is known decides; where the KV cache is unknown, only with its whole band to spare is a yes a yes."""
    if shortfall_bytes:
        return Verdict.DOES_NOT_FIT
    spare_bytes = sum(room.available_bytes - room.take_bytes for room in taken if room.take_bytes)
    if reckoning.kv_bytes is None and reckoning.error_bytes > spare_bytes:
        return Verdict.UNKNOWN
    return Verdict.FITS


def _sentence(verdict: Verdict, needed_bytes: int, shortfall_bytes: int, taken: Sequence[Room]) -> str:
    chosen = [room for room in taken if room.take_bytes]
    where = " and ".join(room.name for room in chosen) or "the CPU"
    available_bytes = sum(room.available_bytes for room in chosen)
    figures = f"needs about {gib(needed_bytes)} on {where}, where {gib(available_bytes)} are available after headroom"
    if verdict is Verdict.FITS:
        return f"Fits: {figures}."
    if verdict is Verdict.DOES_NOT_FIT:
        return f"Does not fit: {figures}; {gib(shortfall_bytes)} are missing."
    return f"May not fit: {figures}, and the KV cache is unknown."


def _undecided(reckoning: Reckoning, devices: Sequence[Room]) -> FitPreview:
    why = "the host's free memory is not measured" if not devices else "the model's size is not known"
    return _preview(
        reckoning, Verdict.UNKNOWN, f"Whether it fits is unknown: {why}.", devices, reckoning.needed_bytes, 0, ()
    )


def _preview(
    reckoning: Reckoning,
    verdict: Verdict,
    sentence: str,
    devices: Sequence[Room],
    needed_bytes: int | None,
    shortfall_bytes: int,
    would_free: tuple[Freeable, ...],
) -> FitPreview:
    return FitPreview(
        verdict=verdict,
        sentence=sentence,
        weights_bytes=reckoning.weights_bytes,
        kv_bytes=reckoning.kv_bytes,
        overhead_bytes=reckoning.overhead_bytes,
        needed_bytes=needed_bytes,
        error_bytes=reckoning.error_bytes,
        context_length=reckoning.context_length,
        rooms=tuple(devices),
        shortfall_bytes=shortfall_bytes,
        would_free=would_free,
        unknown=reckoning.unknown,
    )


def _would_free(
    endpoint: Endpoint, model: str, unload: Sequence[LoadedModel], taken: Sequence[Room], shortfall_bytes: int
) -> tuple[Freeable, ...]:
    uuids = [room.uuid for room in taken if room.take_bytes]
    pinned = Residency.objects.filter(endpoint=endpoint, pinned=True).values_list("name", flat=True)
    staying = LoadedModel.objects.filter(endpoint=endpoint).exclude(name__in=[model, *pinned])
    freeable = [
        Freeable(row.pk, row.name, sum(bytes_of(row, uuids).values()))
        for row in staying.exclude(pk__in=[gone.pk for gone in unload])
    ]
    chosen: list[Freeable] = []
    for candidate in sorted(freeable, key=lambda entry: entry.gpu_bytes, reverse=True):
        if sum(entry.gpu_bytes for entry in chosen) >= shortfall_bytes:
            break
        chosen.append(candidate)
    return tuple(chosen) if sum(entry.gpu_bytes for entry in chosen) >= shortfall_bytes else ()
