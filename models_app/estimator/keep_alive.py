"""How long an idle model should stay in memory, from how often it is asked and what its return costs."""

from __future__ import annotations

from dataclasses import dataclass

SHORTEST_SECONDS = 300
LONGEST_SECONDS = 1800
"""Published guides: below 5 minutes come cold starts again and again, above 30 minutes VRAM is held for nobody."""


@dataclass(frozen=True, slots=True)
class KeepAliveAdvice:
    """``seconds`` to keep an idle model; 0 unloads at once.

    ``reloads_per_hour`` is how often it would have to be loaded again, and ``waiting_share`` the part of an hour that
    somebody then waits for it; ``None`` where the cost of a load is not known.
    """

    seconds: int
    reason: str
    reloads_per_hour: float = 0.0
    waiting_share: float | None = None


def advise_keep_alive(requests_per_hour: float, reload_seconds: float | None = None) -> KeepAliveAdvice:
    """Twice the usual gap between requests, within 5 to 30 minutes. Raises ``ValueError`` for a negative frequency."""
    if requests_per_hour < 0:
        raise ValueError("A number of requests an hour is 0 or more.")
    if requests_per_hour == 0:
        return KeepAliveAdvice(0, "Nobody asks for it.", 0.0, 0.0)
    gap_seconds = 3600 / requests_per_hour
    if gap_seconds > LONGEST_SECONDS:
        waiting = None if reload_seconds is None else requests_per_hour * reload_seconds / 3600
        reason = "Asked too seldom to be worth waiting for the next request."
        return KeepAliveAdvice(SHORTEST_SECONDS, reason, requests_per_hour, waiting)
    seconds = min(LONGEST_SECONDS, max(SHORTEST_SECONDS, round(2 * gap_seconds)))
    reason = f"Twice the usual {_gap(gap_seconds)} between requests, within 5 to 30 minutes."
    return KeepAliveAdvice(seconds, reason, 0.0, 0.0)


def _gap(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
