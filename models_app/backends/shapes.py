"""Readings of decoded JSON that never trust its shape.

Each function takes whatever an endpoint sent and returns a value of one type, or raises ``BadAnswer`` where nothing can be
done without it.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from models_app.backends.errors import BadAnswer

Object = dict[str, Any]

MAX_COUNT = 2**63 - 1
MAX_TEXT_LENGTH = 2000
MIN_YEAR, MAX_YEAR = 1970, 9000

# Neither databases nor terminals take these: control characters and halves of surrogate pairs.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_EXCESS_FRACTION = re.compile(r"(\.\d{6})\d+")


def decoded(content: bytes) -> Any:
    """What the JSON says, or ``BadAnswer``."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadAnswer("The answer is no JSON.", hint="Is this the address of Ollama or llama-server?") from error


def as_object(value: object, what: str) -> Object:
    """The JSON object, or ``BadAnswer``."""
    if not isinstance(value, dict):
        raise BadAnswer(f"{what} should be a JSON object, but is {type(value).__name__}.")
    return value


def as_objects(value: object, what: str) -> list[Object]:
    """The list of JSON objects, or ``BadAnswer``. ``null`` is an empty list, as Go writes one."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadAnswer(f"{what} should be a JSON list, but is {type(value).__name__}.")
    return [as_object(item, f"An entry of {what}") for item in value]


def part(value: Object, key: str) -> Object:
    """The nested object under ``key``, or an empty one."""
    inner = value.get(key)
    return inner if isinstance(inner, dict) else {}


def text(value: object) -> str:
    """A printable text of bounded length; empty for anything but a string."""
    return _UNPRINTABLE.sub("\ufffd", value[:MAX_TEXT_LENGTH]) if isinstance(value, str) else ""


def texts(value: object) -> list[str]:
    """Every string of a list; empty for anything else."""
    return [text(item) for item in value if isinstance(item, str)] if isinstance(value, list) else []


def count(value: object) -> int | None:
    """A whole number from 0 to 2**63 - 1, else ``None``: figures that a database can store."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value <= MAX_COUNT else None  # type: ignore[operator, return-value]


def number(value: object) -> float | None:
    """A finite number above 0; anything else is unknown."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e15:
        return None
    return float(value)


def instant(value: object) -> datetime | None:
    """A moment in UTC from RFC 3339 text with its zone and up to nanoseconds, else ``None``.

    Go's zero time, in the year 1, and what no zone of a calendar holds are no moments: reckoning with them overflows.
    """
    try:
        moment = datetime.fromisoformat(_EXCESS_FRACTION.sub(r"\1", text(value)))
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo and MIN_YEAR <= moment.year <= MAX_YEAR else None
