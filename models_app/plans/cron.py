"""Cron expressions in a time zone. Clocks that jump are heeded: what falls into the missing hour fires right after it, and
what names an hour that comes twice fires once. A wildcard hour fires in both.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError


class InvalidSchedule(ValueError):
    """An expression or a time zone that means nothing; ``field`` is the one at fault."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


def next_firing(cron: str, time_zone: str, after: datetime) -> datetime:
    """The first moment after ``after`` at which it fires, in UTC. Raises ``InvalidSchedule``."""
    zone = _zone(time_zone)
    try:
        return next(CronSim(cron, after.astimezone(zone))).astimezone(UTC)
    except CronSimError as error:
        fields = "minute, hour, day of the month, month, day of the week, such as 0 20 * * 1-5"
        raise InvalidSchedule("cron", f"{error}. Five fields are needed: {fields}.") from error
    except StopIteration as error:
        raise InvalidSchedule("cron", "This never fires: there is no such day.") from error


def in_words(cron: str) -> str:
    """The expression in English; the expression itself where it has none."""
    try:
        return str(CronSim(cron, datetime.now(UTC)).explain())
    except (CronSimError, ValueError):
        return cron


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"There is no time zone “{name[:60]}”; one is named like Europe/Berlin."
        raise InvalidSchedule("time_zone", message) from error
