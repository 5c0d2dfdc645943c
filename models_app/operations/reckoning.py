"""What a load will take: learned from measured loads, else planned by the server's own planner, else from the model's
header, else a quick rule of thumb."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial

from models_app.catalog.headers import stored_shape
from models_app.catalog.models import Variant, VariantHeader
from models_app.estimator.header import LARGE_GPU_BYTES, header_estimate
from models_app.estimator.learned import learned_estimate
from models_app.estimator.profiles import CURRENT, BuildProfile
from models_app.estimator.quick import quick_estimate
from models_app.estimator.types import Estimate, EstimateError, Grade, LoadSettings
from models_app.operations.accompaniment import NO_COMPANIONS, accompanied
from models_app.operations.oracle import planned_estimate
from models_app.operations.reckoned import Reckoning, reckoned
from models_app.operations.rooms import Room
from models_app.operations.rule_of_thumb import quick_model, quick_reckoning
from models_app.operations.subject import Subject

ESTIMATES_KEPT = 16_384
"""A plan for a hundred demands asks for ten thousand; each takes about a kilobyte."""
_GIB = 1024**3


def reckon(subject: Subject, gpus: Sequence[Room] | None) -> Reckoning:
    """The estimate for these GPUs; empty is a machine without any, ``None`` one GPU of which nothing is known."""
    measured = reckon_unlearned(subject, gpus)
    past = subject.past.get(gpu_names(gpus or ()), ())
    if not past or not measured.devices or measured.grade is Grade.QUICK:
        return measured
    estimate = Estimate(measured.grade, measured.build_profile, measured.devices, measured.error_bytes)
    learned = learned_estimate(estimate, subject.settings.context_length, past)
    unknown = (*measured.unknown, *learned.notes)
    return replace(measured, grade=learned.grade, devices=learned.devices, error_bytes=learned.error_bytes, unknown=unknown)


def reckon_unlearned(subject: Subject, gpus: Sequence[Room] | None) -> Reckoning:
    """The same without what earlier loads taught."""
    if subject.header:
        try:
            estimate = _planned(subject, gpus) or _header_estimate(subject, gpus, subject.settings)
        except EstimateError as error:
            return quick_reckoning(replace(subject, unknown=(*subject.unknown, str(error))), gpus)
        return reckoned(estimate, subject, gpus)
    return quick_reckoning(subject, gpus)


def _header_estimate(subject: Subject, gpus: Sequence[Room] | None, settings: LoadSettings) -> Estimate:
    gpu_bytes = _gpu_bytes(gpus)
    estimate = _from_header(subject.header, settings, subject.profile, gpu_bytes)
    if subject.companions == NO_COMPANIONS:
        return estimate
    shape = stored_shape(subject.header)
    return accompanied(estimate, subject.companions, shape, settings, subject.profile, gpu_bytes)


def _planned(subject: Subject, gpus: Sequence[Room] | None) -> Estimate | None:
    """The oracle's word on a load that takes every GPU the planner sees; ``None`` where it has none."""
    planner = subject.planner
    if planner is None or gpus is None or len(gpus) != planner.gpu_count:
        return None
    shares = [max(1, round(room.available_bytes / _GIB)) for room in gpus]
    try:
        return planned_estimate(planner, subject.settings, shares, partial(_header_estimate, subject, gpus))
    except EstimateError:
        return None


def variant_estimate(
    variant: Variant,
    settings: LoadSettings,
    profile: BuildProfile = CURRENT,
    gpu_bytes: tuple[int, ...] | None = None,
) -> Estimate:
    """The same for a variant alone, wherever it may be loaded: from its header, else a rule of thumb for one GPU.

    Raises ``EstimateError``. Reads no rows where the variant came with its ``header``.
    """
    if has_header(variant):
        return _from_header(bytes(variant.header.content), settings, profile, gpu_bytes)
    return quick_estimate(quick_model(variant, variant.file_size_bytes), settings)


def has_header(variant: Variant) -> bool:
    """Whether the variant's header is known; reads no rows where the variant came with it."""
    return isinstance(getattr(variant, "header", None), VariantHeader)


def gpu_names(gpus: Sequence[Room]) -> str:
    """The cards' names, as measurements remember them."""
    return ", ".join(room.gpu_name for room in gpus)[:255]


@lru_cache(maxsize=ESTIMATES_KEPT)
def _from_header(
    header: bytes, settings: LoadSettings, profile: BuildProfile, gpu_bytes: tuple[int, ...] | None
) -> Estimate:
    return header_estimate(stored_shape(header), settings, profile, gpu_bytes)


def _gpu_bytes(gpus: Sequence[Room] | None) -> tuple[int, ...] | None:
    """What decides how a model is divided: the free memory of each GPU; of a single one only whether it is a large one."""
    if gpus is None:
        return None
    if len(gpus) == 1:
        return (LARGE_GPU_BYTES if gpus[0].total_bytes >= LARGE_GPU_BYTES else 1,)
    return tuple(max(1, room.available_bytes + room.headroom_bytes) for room in gpus)
