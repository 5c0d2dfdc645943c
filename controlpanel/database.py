"""A database that cannot work: what it means for people, and what the log says of it."""

from __future__ import annotations

import logging
import shutil
import time
from enum import Enum

from django.conf import settings
from django.db import OperationalError, connection

FULL_WORDS = ("disk is full", "no space left", "disk full")
"""SQLite's and PostgreSQL's own words."""
LEAST_FREE_BYTES = 1024**2
SILENCE_SECONDS = 60.0


class Trouble(Enum):
    """Why the database does not work: a code for scripts and a sentence for people."""

    FULL = ("disk_full", "The disk of the panel's database is full; nothing was changed. Make room there and try again.")
    AWAY = ("database_unavailable", "The panel's database does not answer; nothing was changed. Try again.")

    def __init__(self, code: str, sentence: str) -> None:
        self.code, self.sentence = code, sentence


def trouble_of(error: BaseException) -> Trouble:
    """What an ``OperationalError`` is about."""
    return Trouble.FULL if any(words in str(error).lower() for words in FULL_WORDS) else Trouble.AWAY


def disk_is_full() -> bool:
    """Whether the data folder has no room for SQLite's next page. Never said of a database elsewhere."""
    return connection.vendor == "sqlite" and shutil.disk_usage(settings.DATA_DIR).free < LEAST_FREE_BYTES


class OneLine(logging.Filter):
    """Tells of a database that cannot work in one line, and of the same trouble at the same place once a minute.

    Everything that goes on by itself meets it every second: tracebacks would fill what is left of the disk.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told_at: dict[tuple[str, str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, OperationalError):
            return True
        key, now = (record.name, record.getMessage(), str(error)), time.monotonic()
        if now - self._told_at.get(key, -SILENCE_SECONDS) < SILENCE_SECONDS:
            return False
        self._told_at = {known: at for known, at in self._told_at.items() if now - at < SILENCE_SECONDS} | {key: now}
        record.msg, record.args, record.exc_info = f"{record.getMessage()}: {error}", (), None
        return True
