"""A database that cannot work: what it means for people."""

from __future__ import annotations

import shutil
from enum import Enum

from django.conf import settings
from django.db import connection

FULL_WORDS = ("disk is full", "no space left", "disk full")
"""SQLite's and PostgreSQL's own words."""
LEAST_FREE_BYTES = 1024**2


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
