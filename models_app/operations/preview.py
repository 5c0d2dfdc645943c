"""Whether a model will fit: the best estimate there is against what is measured free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from models_app.backends.protocol import LoadOptions
from models_app.estimator.types import Grade
from models_app.inventory.models import Endpoint, LoadedModel, Residency
from models_app.operations.advising import server_fit_note
from models_app.operations.facts import installed_subject
from models_app.operations.placing import Placing, place
from models_app.operations.rooms import Room, bytes_of, rooms
from models_app.operations.subject import Subject
from models_app.operations.verdicts import FitPreview, Freeable, Verdict
from models_app.operations.wording import gib
from models_app.telemetry.sources import sample_now


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
