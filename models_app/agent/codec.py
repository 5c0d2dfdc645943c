"""Frozen dataclasses as JSON values and back, by their annotations, without trusting a single type.

Fields that have their default are left out, and unknown keys are ignored, so that a newer agent and an older panel
understand each other. Everything else that does not fit its annotation is ``Malformed``.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

from models_app.agent.decoding import Malformed as Malformed
from models_app.agent.decoding import reader
from models_app.agent.encoding import writer

T = TypeVar("T")


def dumps(value: Any) -> str:
    """JSON values as compact text."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def loads(text: str | bytes) -> Any:
    """The JSON values in a text. Raises ``Malformed``."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"This is no JSON: {error}") from None


def _no_number(text: str) -> float:
    raise Malformed(f"{text} is no number in JSON.")


def encode(value: Any, kind: Any = None) -> Any:
    """``value`` as JSON values, by its own class or by the annotation ``kind``."""
    return writer(type(value) if kind is None else kind)(value)


def decode(kind: Any, value: Any) -> Any:
    """The value of the annotation ``kind`` that ``encode`` wrote. Raises ``Malformed``."""
    return reader(kind)(value)


def made(kind: type[T], value: Any) -> T:
    """``decode`` for a class."""
    result: T = reader(kind)(value)
    return result
