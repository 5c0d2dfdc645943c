"""From a value to an alert: two limits and a duration, so that a value that trembles raises nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from models_app.alerts.rules.findings import Limits


@dataclass(frozen=True, slots=True)
class Track:
    """A subject that is, or was a moment ago, beyond a limit.

    ``since`` is when the value came to ``raise_at``; ``calm_since`` when, once raised, it came down to ``clear_at``.
    """

    since: datetime
    is_raised: bool = False
    calm_since: datetime | None = None


def follow(track: Track | None, value: float | None, limits: Limits, now: datetime) -> Track | None:
    """The track after one more value; ``None`` while there is nothing to follow.

    Not raised: ``raise_at`` must hold for ``for_seconds``, and one value below it begins anew. Raised: it stays so between
    the limits, and ends once ``clear_at`` has held for as long. A value that is not known changes nothing.
    """
    if value is None:
        return track
    if track is not None and track.is_raised:
        return _raised(track, value, limits, now)
    if value < limits.raise_at:
        return None
    track = track or Track(now)
    return replace(track, is_raised=_has_lasted(track.since, limits, now))


def _raised(track: Track, value: float, limits: Limits, now: datetime) -> Track | None:
    if value > limits.clear_at:
        return replace(track, calm_since=None)
    calm_since = track.calm_since or now
    return None if _has_lasted(calm_since, limits, now) else replace(track, calm_since=calm_since)


def _has_lasted(since: datetime, limits: Limits, now: datetime) -> bool:
    return now - since >= timedelta(seconds=limits.for_seconds)
