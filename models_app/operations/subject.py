"""A model on an endpoint with settled settings: everything that an estimate needs."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache

from models_app.catalog.models import Variant
from models_app.estimator.learned import Measured
from models_app.estimator.profiles import BuildProfile
from models_app.estimator.server_fit import Unset
from models_app.estimator.types import LoadSettings
from models_app.operations.accompaniment import NO_COMPANIONS, Companions
from models_app.operations.oracle import Planner

SETTINGS_KEPT = 1024


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be loaded, and how. ``size_bytes`` is that of the model's files, 0 where unknown.

    ``header`` is the stored header, empty where none is known. ``past`` are earlier loads by the names of their GPUs, the
    latest first. ``planner`` is asked before the header is, where there is one. ``gpus`` are the UUIDs of those that the
    server sees, ``None`` for all; ``unset`` is what the server may shrink by itself, ``None`` where it would not;
    ``every_gpu`` and ``only_gpu`` (an index) say what it does where nobody chose a GPU.
    """

    variant: Variant | None
    size_bytes: int
    settings: LoadSettings
    profile: BuildProfile
    header: bytes = b""
    past: dict[str, list[Measured]] = field(default_factory=dict)
    gpus: frozenset[str] | None = None
    every_gpu: bool = False
    only_gpu: int | None = None
    planner: Planner | None = None
    companions: Companions = NO_COMPANIONS
    unset: Unset | None = None
    unknown: tuple[str, ...] = ()


def with_settings(subject: Subject, settings: LoadSettings) -> Subject:
    """The same model, loaded in another way; earlier loads count only where nothing but context and batch changes.

    No planner is asked: advice tries many ways.
    """
    is_alike = settings_key(settings) == settings_key(subject.settings)
    return replace(subject, settings=settings, past=subject.past if is_alike else {}, planner=None)


@lru_cache(maxsize=SETTINGS_KEPT)
def settings_key(settings: LoadSettings) -> str:
    """The same for settings that differ only in context and batch, whose terms follow formulas."""
    shown = asdict(replace(settings, context_length=1, batch=1, ubatch=1))
    return hashlib.sha256(repr(sorted(shown.items())).encode()).hexdigest()[:32]
