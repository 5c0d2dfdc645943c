"""What is loaded beside a model: projector, draft model, LoRA adapter, by the command line or by the size of the files.

The files of a command line are read where they lie on the panel's own host; elsewhere they are only known to exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from models_app.backends.protocol import BackendKind
from models_app.catalog.headers import stored_shape
from models_app.estimator.companions import with_adapter, with_draft, with_projector
from models_app.estimator.header import header_estimate
from models_app.estimator.placement import place
from models_app.estimator.profiles import BuildProfile
from models_app.estimator.shape import Shape
from models_app.estimator.types import Estimate, EstimateError, LoadSettings
from models_app.gguf.errors import GgufError
from models_app.gguf.header import GgufHeader
from models_app.gguf.splits import read_model
from models_app.inventory.models import Endpoint

HEADERS_KEPT = 64
LEAST_PROJECTOR_BYTES = 256 * 1024**2
"""What the files hold beyond the model's tensors is at least this much where they hold a projector: texts and vocabularies
take less."""
_NAMES = {"mmproj": "projector", "model_draft": "draft model", "lora": "LoRA adapter"}


@dataclass(frozen=True, slots=True)
class Companions:
    """``projector_bytes`` are its weights. ``files`` are local paths by the names of ``backends.llama_launch``, with what
    tells their versions apart; ``notes`` say what could not be reckoned."""

    projector_bytes: int = 0
    files: tuple[tuple[str, str, int], ...] = ()
    notes: tuple[str, ...] = ()


NO_COMPANIONS = Companions()
FILES_KEPT = 1024


def companions_of(endpoint: Endpoint, launch: Mapping[str, Any], size_bytes: int, header: bytes) -> Companions:
    """What the endpoint loads beside a model. ``size_bytes`` is that of all its files, ``header`` the stored one."""
    if endpoint.kind == BackendKind.OLLAMA:
        return Companions(projector_bytes=_beyond_tensors(size_bytes, header))
    named = {name: str(launch[name]) for name in _NAMES if launch.get(name)}
    files, notes = [], []
    for name, path in named.items():
        version = _version(path) if endpoint.host.is_local else None
        if version is None:
            notes.append(f"A {_NAMES[name]} is loaded too; its size is not known.")
        else:
            files.append((name, path, version))
    return Companions(files=tuple(files), notes=tuple(notes)) if named else NO_COMPANIONS


def accompanied(
    estimate: Estimate,
    companions: Companions,
    shape: Shape,
    settings: LoadSettings,
    profile: BuildProfile,
    gpu_bytes: Sequence[int] | None,
) -> Estimate:
    """The estimate of a model with everything that is loaded beside it. Raises ``EstimateError``."""
    notes = list(companions.notes)
    if companions.projector_bytes:
        estimate = with_projector(estimate, companions.projector_bytes)
        notes.append("The files hold a projector beside the model; it is counted.")
    for name, path, version in companions.files:
        header = _header(path, version)
        if header is None:
            notes.append(f"The {_NAMES[name]} {Path(path).name} cannot be read.")
        elif name == "mmproj":
            estimate = with_projector(estimate, header.weights_bytes)
        elif name == "lora":
            estimate = with_adapter(estimate, header, place(shape, settings, profile, gpu_bytes))
        else:
            estimate = with_draft(estimate, header_estimate(header, _of_draft(settings), profile, gpu_bytes))
    return replace(estimate, notes=(*estimate.notes, *notes))


def _of_draft(settings: LoadSettings) -> LoadSettings:
    """A draft model follows the context and has its own defaults otherwise: every layer on the GPU, f16."""
    return LoadSettings(
        context_length=settings.context_length,
        parallel=settings.parallel,
        unified_kv=settings.unified_kv,
        batch=settings.batch,
        ubatch=settings.ubatch,
    )


@lru_cache(maxsize=FILES_KEPT)
def _beyond_tensors(size_bytes: int, header: bytes) -> int:
    """What the files hold beside the model's own tensors, where that is too much for texts."""
    if not header or not size_bytes:
        return 0
    try:
        shape = stored_shape(header)
    except EstimateError:
        return 0
    tensors = [*shape.other_tensors.values(), *(tensor for layer in shape.layers for tensor in layer.tensors.values())]
    beyond = size_bytes - sum(tensor.size_bytes for tensor in tensors)
    return beyond if beyond >= LEAST_PROJECTOR_BYTES else 0


def _version(path: str) -> int | None:
    """The time of change; ``None`` for what is no file that can be seen."""
    try:
        return Path(path).stat().st_mtime_ns if Path(path).is_file() else None
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=HEADERS_KEPT)
def _header(path: str, version: int) -> GgufHeader | None:  # noqa: ARG001 - part of the file's identity
    try:
        return read_model(path)
    except (GgufError, OSError):
        return None
