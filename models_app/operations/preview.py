"""Whether a model will fit: the best estimate there is against what is measured free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from models_app.backends.protocol import LoadOptions
from models_app.estimator.types import Grade
from models_app.inventory.models import Endpoint, LoadedModel, Residency
from models_app.operations.advising import server_fit_note
from models_app.operations.facts import installed_subject
from models_app.operations.placing import Placing, place
from models_app.operations.rooms import Room, bytes_of, rooms
from models_app.operations.subject import Subject
from models_app.operations.wording import gib
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
    Each of ``rooms`` has its own share, band and terms. ``overhead_bytes`` are driver contexts and buffers, of which
    ``compute_bytes`` are compute buffers (0 in the quick grade); ``ram_bytes`` stays in the host's RAM. ``grade`` names
    the evidence. ``shortfall_bytes`` is what is missing, 0 where it fits. ``would_free`` are the models, largest first,
    that together would make room; empty where none are needed or even all of them would not do.
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
    grade: Grade = Grade.QUICK
    build_profile: str = ""
    compute_bytes: int = 0
    ram_bytes: int = 0

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
            "grade": self.grade.value,
            "build_profile": self.build_profile,
            "compute_bytes": self.compute_bytes,
            "ram_bytes": self.ram_bytes,
            "unknown": list(self.unknown),
        }


def fit_preview(
    endpoint: Endpoint,
    model: str,
    options: LoadOptions,
    *,
    unload: Sequence[LoadedModel] = (),
) -> FitPreview:
    """Whether ``model`` fits on ``endpoint`` with ``options`` once ``unload`` are gone, by a fresh sweep of the host.

    ``model`` is the endpoint's own name for it. A model without known numbers has the verdict ``unknown``. Raises
    ``RequestRefused`` (``invalid_option``) for options that contradict each other.
    """
    sample = sample_now(endpoint.host)
    devices = rooms(sample, unload) if sample else []
    return judged(installed_subject(endpoint, model, options), devices, options.gpu, endpoint, unload, model)


def judged(
    subject: Subject,
    devices: Sequence[Room],
    gpu: str | None,
    endpoint: Endpoint | None,
    unload: Sequence[LoadedModel],
    model: str,
) -> FitPreview:
    """The preview of a subject on the devices of an endpoint, ``gpu`` being the UUID that was asked for.

    ``None`` is an endpoint that is not there yet.
    """
    placing = place(subject, devices, gpu)
    if not devices or placing.reckoning.needed_bytes is None:
        return _undecided(placing)
    verdict = _verdict(placing)
    missing_bytes = placing.shortfall_bytes
    would_free = _would_free(endpoint, model, unload, placing.chosen, missing_bytes) if missing_bytes and endpoint else ()
    preview = _preview(placing, verdict, _sentence(verdict, placing), would_free)
    return replace(preview, unknown=(*preview.unknown, *server_fit_note(subject, placing.chosen)))


def _verdict(placing: Placing) -> Verdict:
    """A rule of thumb says yes only with its whole band to spare."""
    if placing.shortfall_bytes:
        return Verdict.DOES_NOT_FIT
    spare_bytes = sum(room.available_bytes - room.take_bytes for room in placing.chosen)
    is_rough = placing.reckoning.grade is Grade.QUICK
    return Verdict.UNKNOWN if is_rough and placing.reckoning.error_bytes > spare_bytes else Verdict.FITS


def _sentence(verdict: Verdict, placing: Placing) -> str:
    needed_bytes, error_bytes = placing.reckoning.needed_bytes or 0, placing.reckoning.error_bytes
    where = " and ".join(room.name for room in placing.chosen) or "the CPU"
    available_bytes = max(0, sum(room.available_bytes for room in placing.chosen))
    need = f"{gib(needed_bytes)} ± {gib(error_bytes)}"
    figures = f"needs about {need} on {where}, where {gib(available_bytes)} are available after headroom"
    if verdict is Verdict.FITS:
        return f"Fits: {figures}."
    if verdict is Verdict.DOES_NOT_FIT:
        return f"Does not fit: {figures}; {gib(placing.shortfall_bytes)} are missing."
    if not placing.reckoning.kv_is_known:
        return f"May not fit: {figures}, and the KV cache is unknown."
    return f"May not fit: {figures}, and this is a rule of thumb."


def _undecided(placing: Placing) -> FitPreview:
    why = "the host's free memory is not measured" if not placing.rooms else "the model's size is not known"
    return _preview(replace(placing, shortfall_bytes=0), Verdict.UNKNOWN, f"Whether it fits is unknown: {why}.", ())


def _preview(placing: Placing, verdict: Verdict, sentence: str, would_free: tuple[Freeable, ...]) -> FitPreview:
    reckoning = placing.reckoning
    return FitPreview(
        verdict=verdict,
        sentence=sentence,
        weights_bytes=reckoning.weights_bytes,
        kv_bytes=reckoning.kv_bytes,
        overhead_bytes=reckoning.overhead_bytes,
        needed_bytes=reckoning.needed_bytes,
        error_bytes=reckoning.error_bytes,
        context_length=reckoning.settings.context_length,
        rooms=placing.rooms,
        shortfall_bytes=placing.shortfall_bytes,
        would_free=would_free,
        unknown=reckoning.unknown,
        grade=reckoning.grade,
        build_profile=reckoning.build_profile,
        compute_bytes=reckoning.compute_bytes,
        ram_bytes=reckoning.ram_bytes,
    )


def _would_free(
    endpoint: Endpoint, model: str, unload: Sequence[LoadedModel], devices: Sequence[Room], shortfall_bytes: int
) -> tuple[Freeable, ...]:
    uuids = [room.uuid for room in devices]
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
