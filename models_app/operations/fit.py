"""Whether a variant fits, where, with how many layers, and what would make it fit: for every endpoint and every GPU.

It changes nothing and loads nothing. Each host is sampled once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from models_app.backends.protocol import LoadOptions
from models_app.catalog.models import Installation, Variant
from models_app.estimator.advice import Advice
from models_app.estimator.speed import Measured, Speed, speed_at_gpu_share
from models_app.estimator.types import Grade, LoadSettings
from models_app.inventory.models import Endpoint, LoadedModel, Residency
from models_app.operations.advising import advice_for, layer_count_of, layers_that_fit_on
from models_app.operations.facts import foreign_subject, installed_subject
from models_app.operations.placing import missing_bytes, place
from models_app.operations.preview import judged
from models_app.operations.reckoning import gpu_names
from models_app.operations.rooms import Room, bytes_of, rooms
from models_app.operations.siblings import Sibling, smaller_siblings
from models_app.operations.speeds import gpu_share_of, measured_speeds
from models_app.operations.subject import Subject
from models_app.operations.verdicts import FitPreview, Freeable
from models_app.probes.types import HostSample
from models_app.telemetry.sources import sample_now


class Fit(StrEnum):
    """How a model fits one device."""

    FITS = "fits"
    PARTLY = "partly"
    """Some of its layers fit; the others would stay in the host's RAM."""
    DOES_NOT_FIT = "does_not_fit"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DeviceFit:
    """One device on its own. ``room`` has what is free now and what the whole model would take of it, with its terms.

    ``layers`` of ``layer_count`` fit (the output layer counts as one); ``None`` where the layers are not known.
    ``evict`` are the models whose unloading would make room for all of it, largest first, and ``free_after_bytes`` is what
    would then be free; both are empty or ``None`` where it fits now or would not even then.
    """

    fit: Fit
    room: Room
    needed_bytes: int | None
    error_bytes: int
    layers: int | None = None
    layer_count: int | None = None
    evict: tuple[Freeable, ...] = ()
    free_after_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class EndpointFit:
    """One endpoint: the preview of a load as its server would place it, each device on its own, and what would help.

    ``installed_as`` is the endpoint's name for the model, empty where it would have to be pulled first. ``advice`` is in
    the order of least harm, and empty where it fits; so are ``siblings``, the smaller variants that are installed there.
    ``speed`` is that of the load as it was asked for, ``None`` where no speed was measured on these GPUs.
    """

    endpoint: Endpoint
    installed_as: str
    settings: LoadSettings
    preview: FitPreview
    devices: tuple[DeviceFit, ...]
    advice: tuple[Advice, ...]
    siblings: tuple[Sibling, ...] = ()
    speed: Speed | None = None


def fit(
    variant: Variant,
    endpoints: Iterable[Endpoint],
    options: LoadOptions,
    unload: Sequence[LoadedModel] = (),
    fresh: Mapping[int, HostSample] | None = None,
) -> list[EndpointFit]:
    """The answer for each endpoint (with its host), ``unload`` being models that will be gone.

    ``fresh`` are samples by the host's id that are new enough; other hosts are sampled now. Raises ``RequestRefused``
    (``invalid_option``) for options that contradict each other.
    """
    endpoints = list(endpoints)
    places = Installation.objects.filter(variant=variant, endpoint__in=endpoints)
    names = dict(places.values_list("endpoint_id", "name"))
    samples: dict[int, HostSample | None] = dict(fresh or {})
    for endpoint in endpoints:
        if endpoint.host_id not in samples:
            samples[endpoint.host_id] = sample_now(endpoint.host)
    return [
        _endpoint_fit(variant, each, names.get(each.pk, ""), options, unload, samples[each.host_id]) for each in endpoints
    ]


def _endpoint_fit(
    variant: Variant,
    endpoint: Endpoint,
    name: str,
    options: LoadOptions,
    unload: Sequence[LoadedModel],
    sample: HostSample | None,
) -> EndpointFit:
    subject = installed_subject(endpoint, name, options) if name else foreign_subject(endpoint, variant, options)
    leaving = [row for row in unload if row.endpoint_id == endpoint.pk]
    devices = rooms(sample, leaving) if sample else []
    preview = judged(subject, devices, options.gpu, endpoint, leaving, name or variant.name)
    candidates = _freeable(endpoint, name, leaving)
    fits = tuple(_device_fit(subject, room, candidates) for room in devices if options.gpu in (None, room.uuid))
    measured = measured_speeds(subject.variant, endpoint.kind, gpu_names(preview.chosen))
    answer = EndpointFit(endpoint, name, subject.settings, preview, fits, (), (), _speed(subject, measured))
    if not preview.shortfall_bytes:
        return answer
    siblings = smaller_siblings(endpoint, variant, options, devices, preview.needed_bytes or 0)
    return replace(answer, advice=advice_for(subject, preview.chosen, measured), siblings=siblings)


def _speed(subject: Subject, measured: Measured) -> Speed | None:
    share = gpu_share_of(subject.settings, layer_count_of(subject))
    return speed_at_gpu_share(share, measured) if measured else None


def _freeable(endpoint: Endpoint, name: str, leaving: Sequence[LoadedModel]) -> list[LoadedModel]:
    """The endpoint's other models that nobody pinned."""
    pinned = Residency.objects.filter(endpoint=endpoint, pinned=True).values_list("name", flat=True)
    rows = LoadedModel.objects.filter(endpoint=endpoint).exclude(name__in=[name, *pinned])
    return list(rows.exclude(pk__in=[row.pk for row in leaving]))


def _device_fit(subject: Subject, room: Room, candidates: Sequence[LoadedModel]) -> DeviceFit:
    """The model on this device alone, whatever its server would do."""
    alone = replace(subject, every_gpu=False, only_gpu=None, settings=replace(subject.settings, split=()))
    placing = place(alone, [room])
    reckoning, taken, layer_count = placing.reckoning, placing.rooms[0], layer_count_of(subject)
    parts = None if layer_count is None else layer_count + 1
    whole = DeviceFit(Fit.FITS, taken, reckoning.needed_bytes, reckoning.error_bytes, parts, parts)
    if reckoning.needed_bytes is None:
        return replace(whole, fit=Fit.UNKNOWN, layers=None)
    if not placing.shortfall_bytes:
        return whole
    layers = layers_that_fit_on(alone, room)
    evict, freed_bytes = _evictions(taken, reckoning.grade, candidates)
    return replace(
        whole,
        fit=Fit.PARTLY if layers else Fit.DOES_NOT_FIT,
        layers=layers,
        evict=evict,
        free_after_bytes=room.free_bytes + freed_bytes if evict else None,
    )


def _evictions(room: Room, grade: Grade, candidates: Sequence[LoadedModel]) -> tuple[tuple[Freeable, ...], int]:
    """The largest models first until there is room; nothing where even all of them are not enough."""
    missing, freed_bytes, evict = missing_bytes(room, grade), 0, []
    held = [Freeable(row.pk, row.name, sum(bytes_of(row, [room.uuid]).values())) for row in candidates]
    for each in sorted(held, key=lambda each: each.gpu_bytes, reverse=True):
        if freed_bytes >= missing or not each.gpu_bytes:
            break
        evict.append(each)
        freed_bytes += each.gpu_bytes
    return (tuple(evict), freed_bytes) if evict and freed_bytes >= missing else ((), 0)
