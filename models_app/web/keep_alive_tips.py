"""An advised keep-alive beside a form: from the requests an hour that were typed there, else from what Berth has loaded."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from models_app.inventory.models import Endpoint
from models_app.operations.facts import installed_variant
from models_app.operations.reloads import KeepAlive, keep_alive_of

MOST_REQUESTS = 1_000_000


@dataclass(frozen=True, slots=True)
class KeepAliveTip:
    """``text`` is the time as one would type it, empty where none is advised; ``link`` fills it into the form."""

    advised: KeepAlive
    text: str
    link: str


def keep_alive_tip(endpoint: Endpoint, model: str, requests: str, link: Callable[[str], str]) -> KeepAliveTip | None:
    """The tip for a model; ``requests`` is what was typed, ``link`` makes the address that fills a time in."""
    _, size_bytes = installed_variant(endpoint, model)
    advised = keep_alive_of(endpoint, model, size_bytes, requests_of(requests))
    if advised is None:
        return None
    text = duration_text(advised.advice.seconds)
    return KeepAliveTip(advised, text, link(text) if text else "")


def requests_of(text: str) -> float | None:
    """A number of requests an hour as typed; ``None`` where it is none."""
    try:
        number = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) and 0 <= number <= MOST_REQUESTS else None


def duration_text(seconds: int) -> str:
    """A keep-alive as one would type it: 5m, 90s; empty for none."""
    if not seconds:
        return ""
    return f"{seconds}s" if seconds % 60 else f"{seconds // 60}m"
