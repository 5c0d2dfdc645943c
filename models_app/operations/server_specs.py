"""The settings of a server that Berth starts: from raw values, and what they would take before there is a server."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from models_app.agent.supervision.backend import MODE
from models_app.agent.supervision.files import FileHeader
from models_app.agent.supervision.launch import settings as launch_words
from models_app.agent.supervision.spec import ServerSpec
from models_app.backends.errors import InvalidName, InvalidOption
from models_app.backends.llama_launch import launch_settings
from models_app.backends.protocol import BackendKind, LoadOptions
from models_app.catalog.headers import HeaderTooLarge, encoded
from models_app.estimator.profiles import CURRENT
from models_app.estimator.types import InvalidSettings
from models_app.inventory.models import Host
from models_app.operations.load_settings import Situation, load_settings, only_gpu, seen_gpus, uses_every_gpu
from models_app.operations.options import parse_options, whole_number
from models_app.operations.preview import judged
from models_app.operations.refusals import RequestRefused
from models_app.operations.rooms import rooms
from models_app.operations.subject import Subject
from models_app.operations.verdicts import FitPreview
from models_app.telemetry.sources import sample_now

OPTIONS = (
    "context_length", "parallel", "gpu_layers", "batch", "cache_type_k", "cache_type_v", "flash_attention", "kv_offload",
)  # fmt: skip
"""Those that a load has as well."""
SPEC_NAMES = ("name", "model", "binary", "gpus", *OPTIONS, "threads", "extra")


def parse_spec(raw: Mapping[str, Any]) -> ServerSpec:
    """The spec from values as people and scripts give them. Raises ``RequestRefused`` with every field at fault.

    ``gpus`` is a list; ``extra`` is a list of words, or a text that is divided as a command line is, by no shell.
    """
    errors: dict[str, str] = {}
    try:
        options = parse_options({name: raw.get(name) for name in OPTIONS})
    except RequestRefused as refused:
        options, errors = LoadOptions(), refused.errors
    chosen: dict[str, Any] = {name: getattr(options, name) for name in OPTIONS}
    chosen |= {name: str(raw.get(name) or "").strip() for name in ("name", "model", "binary")}
    for name, read in (("threads", _threads), ("extra", _words), ("gpus", _words)):
        try:
            chosen[name] = read(raw.get(name))
        except ValueError as error:
            errors[name] = str(error)
    return _checked(ServerSpec(**chosen), errors)


def _checked(spec: ServerSpec, errors: dict[str, str]) -> ServerSpec:
    try:
        spec.check()
    except InvalidOption as error:
        errors.setdefault(error.option or "name", error.message)
    except InvalidName as error:
        errors.setdefault("name", error.message)
    if errors:
        field, message = next(iter(errors.items()))
        raise RequestRefused("invalid_option", message, field=field, errors=errors)
    return spec


def spec_preview(host: Host, spec: ServerSpec, file: FileHeader) -> FitPreview:
    """Whether a server of this spec would fit on its host now. Raises ``RequestRefused`` (``invalid_option``)."""
    sample = sample_now(host)
    return judged(_subject(spec, file), rooms(sample, []) if sample else [], None, None, [], spec.name)


def _subject(spec: ServerSpec, file: FileHeader) -> Subject:
    launch = launch_settings((*launch_words(spec), *spec.extra)) | {"gpus": list(spec.gpus)}
    situation = Situation(
        kind=BackendKind.LLAMA_SERVER,
        mode=MODE,
        has_own_runner=False,
        vram_bytes=0,
        training_context_length=_training_context(file),
        is_embedding=False,
        launch=launch,
    )
    try:
        settings, unknown = load_settings(LoadOptions(), situation)
    except InvalidSettings as error:
        raise RequestRefused("invalid_option", str(error), field="cache_type_v") from error
    return Subject(
        variant=None,
        size_bytes=file.size_bytes,
        settings=settings,
        profile=CURRENT,
        header=_stored(file),
        gpus=seen_gpus(situation),
        every_gpu=uses_every_gpu(situation),
        only_gpu=only_gpu(situation),
        unknown=unknown,
    )


def _training_context(file: FileHeader) -> int | None:
    found = file.header and file.header.metadata.get(f"{file.header.architecture}.context_length")
    return found if isinstance(found, int) and found > 0 else None


def _stored(file: FileHeader) -> bytes:
    try:
        return encoded(file.header) if file.header else b""
    except HeaderTooLarge:
        return b""


def _threads(value: object) -> int | None:
    return None if value in (None, "") else whole_number("The number of threads", 1, 4096)(value)


def _words(value: object) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(value)) if isinstance(value, str) else tuple(map(str, value or ()))  # type: ignore[call-overload]
    except (ValueError, TypeError):
        raise ValueError("This is no list of words; a quotation mark may be missing.") from None
