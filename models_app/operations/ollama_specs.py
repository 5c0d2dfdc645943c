"""The settings of an Ollama server that Berth starts, from values as people and scripts give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models_app.agent.supervision.ollama import OllamaSpec
from models_app.backends.errors import InvalidOption
from models_app.backends.protocol import LoadOptions
from models_app.operations.options import parse_options, whole_number
from models_app.operations.refusals import RequestRefused

_OPTIONS = ("parallel", "context_length", "flash_attention")
"""Those that a load has as well."""
_TEXTS = ("models", "binary", "keep_alive", "kv_cache_type")
OLLAMA_NAMES = (*_TEXTS, "gpus", *_OPTIONS, "most_loaded")


def parse_ollama_spec(name: str, raw: Mapping[str, Any]) -> OllamaSpec:
    """The spec of a server of that name; ``gpus`` is a list. Raises ``RequestRefused`` with every field at fault."""
    errors: dict[str, str] = {}
    try:
        options = parse_options({option: raw.get(option) for option in _OPTIONS})
    except RequestRefused as refused:
        options, errors = LoadOptions(), dict(refused.errors)
    chosen: dict[str, Any] = {option: getattr(options, option) for option in _OPTIONS}
    chosen |= {text: str(raw.get(text) or "").strip() for text in _TEXTS}
    try:
        chosen["most_loaded"] = _models_at_once(raw.get("most_loaded"))
    except ValueError as error:
        errors["most_loaded"] = str(error)
    return _checked(OllamaSpec(**chosen, name=name, gpus=tuple(map(str, raw.get("gpus") or ()))), errors)


def _checked(spec: OllamaSpec, errors: dict[str, str]) -> OllamaSpec:
    if not spec.models:
        errors.setdefault("models", "Name the folder of its models.")
    try:
        spec.check()
    except InvalidOption as error:
        errors.setdefault(error.option or "name", error.message)
    if errors:
        field, message = next(iter(errors.items()))
        raise RequestRefused("invalid_option", message, field=field, errors=errors)
    return spec


def _models_at_once(value: object) -> int | None:
    return None if value in (None, "") else whole_number("The number of models", 1, 1024)(value)
