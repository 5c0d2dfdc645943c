"""Go's ways of writing times, durations and JSON errors, in which Ollama answers."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import Any

FOREVER_SECONDS = 9_223_372_036.854775807
"""Go's longest duration, about 292 years: how long a negative keep-alive lasts."""
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([-+]?)((?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+")
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")


def timestamp(seconds: float | None = None) -> str:
    """RFC 3339 in UTC with nanoseconds, trailing zeros cut: ``seconds`` since the epoch, or now."""
    nanoseconds = time.time_ns() if seconds is None else round(seconds * 1e9)
    whole, rest = divmod(nanoseconds, 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0").rstrip(".")
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"


def parse_keep_alive(value: Any) -> float:
    """Seconds from a JSON number or a duration such as ``"10m"``; negative means for ever. Raises ``ValueError``."""
    if isinstance(value, bool):
        raise ValueError("Unsupported type: 'bool'")
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        return parse_duration(value)
    kind = "[]interface {}" if isinstance(value, list) else "map[string]interface {}"
    raise ValueError(f"Unsupported type: '{kind}'")


def parse_duration(text: str) -> float:
    """Seconds of a Go duration. Raises ``ValueError`` with Go's words."""
    if text in {"0", "+0", "-0"}:
        return 0.0
    if re.fullmatch(r"[-+]?\d+(\.\d+)?", text):
        raise ValueError(f'time: missing unit in duration "{text}"')
    if not _DURATION.fullmatch(text):
        raise ValueError(f'time: invalid duration "{text}"')
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _PART.findall(text))
    return -seconds if text.startswith("-") else seconds


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a request body. Raises ``ValueError`` with Go's words."""
    if not body.strip():
        raise ValueError("missing request body")
    try:
        value = json.loads(body)
    except json.JSONDecodeError as error:
        raise ValueError(_syntax_error(body.decode(errors="replace"), error.pos)) from error
    if not isinstance(value, dict):
        raise ValueError("json: cannot unmarshal value into Go value of type api.GenerateRequest")
    return value


def _syntax_error(text: str, position: int) -> str:
    if position >= len(text):
        return "unexpected EOF"
    opens_object = text[:position].rstrip().endswith("{")
    expected = "object key string" if opens_object else "value"
    return f"invalid character '{text[position]}' looking for beginning of {expected}"
