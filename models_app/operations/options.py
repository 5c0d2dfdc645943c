"""Raw option values from forms and JSON, turned into ``LoadOptions``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from models_app.backends.protocol import LoadOptions
from models_app.estimator.types import CACHE_TYPES
from models_app.operations.refusals import RequestRefused

FOREVER_SECONDS = -1
MAX_KEEP_ALIVE_SECONDS = 10 * 365 * 24 * 3600
_UNIT_SECONDS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")


def parse_options(raw: Mapping[str, object]) -> LoadOptions:
    """The options under their names in the API: ``LoadOptions``' own, but ``keep_alive`` in place of its seconds.

    An absent value, ``None`` or an empty string leaves the choice to the backend. Raises ``RequestRefused`` with
    ``unknown_option`` or ``invalid_option``, and in ``errors`` a sentence for every field at fault.
    """
    unknown = sorted(set(raw) - set(_READERS))
    if unknown:
        known = ", ".join(_READERS)
        raise RequestRefused("unknown_option", f"There is no option “{unknown[0]}”. Options: {known}.", field=unknown[0])
    chosen: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, value in raw.items():
        if value is None or value == "":
            continue
        target, read = _READERS[name]
        try:
            chosen[target] = read(value)
        except ValueError as error:
            errors[name] = str(error)
    if errors:
        field, message = next(iter(errors.items()))
        raise RequestRefused("invalid_option", message, field=field, errors=errors)
    return LoadOptions(**{name: value for name, value in chosen.items() if value is not None})


def stored_options(row: Mapping[str, Any]) -> LoadOptions:
    """The options that a row keeps as ``LoadOptions.given()``."""
    return LoadOptions(**row)


def parse_keep_alive(value: object) -> int:
    """Whole seconds from a number, a duration such as ``10m`` or ``1h30m``, or ``forever``; negative is for ever.

    Raises ``ValueError`` with a sentence.
    """
    text = str(value).strip().lower()
    if text == "forever":
        return FOREVER_SECONDS
    if isinstance(value, bool) or not (_DURATION.fullmatch(text) or re.fullmatch(r"-?\d+(?:\.\d+)?", text)):
        raise ValueError("The keep-alive is a number of seconds, a duration such as 10m or 1h30m, or “forever”.")
    if text.startswith("-"):
        return FOREVER_SECONDS
    parts = _DURATION_PART.findall(text) or [(text, "s")]
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
    if seconds < 1:
        raise ValueError("A keep-alive of 0 would unload the model at once; give a time, or unload it.")
    if seconds > MAX_KEEP_ALIVE_SECONDS:
        raise ValueError("The keep-alive is longer than ten years; say “forever”.")
    return int(seconds)


def whole_number(what: str, least: int, most: int) -> Callable[[object], int]:
    """A reader of whole numbers within these bounds; it raises ``ValueError`` with a sentence about ``what``."""

    def read(value: object) -> int:
        text = str(value).strip()
        if isinstance(value, bool | float) or not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            raise ValueError(f"{what} must be a whole number.")
        if not least <= int(text) <= most:
            raise ValueError(f"{what} must be from {least:,} to {most:,}, not {int(text):,}.")
        return int(text)

    return read


def _gpu_layers(value: object) -> int | None:
    if str(value).strip().lower() in {"all", "auto"}:
        return None
    return whole_number("The number of GPU layers", 0, 10_000)(value)


def _cache_type(value: object) -> str:
    text = str(value).strip().lower()
    if text not in CACHE_TYPES:
        raise ValueError(f"The cache type is one of {', '.join(CACHE_TYPES)}.")
    return text


def _choice(value: object) -> bool | None:
    text = str(value).strip().lower()
    if text in {"true", "on", "1", "yes"}:
        return True
    if text in {"false", "off", "0", "no"}:
        return False
    if text == "auto":
        return None
    raise ValueError("Say on, off or auto.")


def _flag(value: object) -> bool:
    chosen = _choice(value)
    if chosen is None:
        raise ValueError("Say on or off.")
    return chosen


def _gpu(value: object) -> str:
    text = str(value).strip()
    if not re.fullmatch(r"[\w.:/-]{1,96}", text, re.ASCII):
        raise ValueError("The GPU is given by its UUID.")
    return text


_READERS: dict[str, tuple[str, Callable[[object], Any]]] = {
    "context_length": ("context_length", whole_number("The context length", 1, 100_000_000)),
    "parallel": ("parallel", whole_number("The number of parallel slots", 1, 1024)),
    "gpu_layers": ("gpu_layers", _gpu_layers),
    "gpu": ("gpu", _gpu),
    "batch": ("batch", whole_number("The batch size", 1, 1_000_000)),
    "cache_type_k": ("cache_type_k", _cache_type),
    "cache_type_v": ("cache_type_v", _cache_type),
    "flash_attention": ("flash_attention", _choice),
    "kv_offload": ("kv_offload", _choice),
    "keep_alive": ("keep_alive_seconds", parse_keep_alive),
    "pinned": ("pinned", _flag),
}
OPTION_NAMES = tuple(_READERS)
"""The options as the API names them."""
