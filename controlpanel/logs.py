"""What the log says of clients' mistakes, and while the database or Redis is away: one line a minute for each place."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from http import HTTPStatus

from django.db import InterfaceError, OperationalError
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

from controlpanel.returns import await_return

AWAY = (OperationalError, InterfaceError, RedisError, BrokerError)
"""What is raised where the database or Redis does not do its work."""
SILENCE_SECONDS = 60.0


class OneLine(logging.Filter):
    """Tells of trouble with the database or Redis in one line, and of the same trouble at the same place once a minute.

    Everything that goes on by itself meets it every second: tracebacks would fill what is left of the disk. The same holds
    for a page that is asked for meanwhile, and for ``/readyz``: they are answered with 503.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told_at: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if _is_of_a_client(record):
            record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
            return logging.getLogger(record.name).isEnabledFor(logging.INFO)
        if record.name.startswith("django.security"):
            record.exc_info = None  # anybody can send such a request; where it came in is of no interest
        error = _trouble(record)
        if error is None and getattr(record, "status_code", 0) != HTTPStatus.SERVICE_UNAVAILABLE:
            return True
        if error is not None:
            await_return(_innermost(error))
            record.msg, record.args, record.exc_info = _line(record, error), (), None
        return self._is_news((record.name, record.getMessage()))

    def _is_news(self, key: tuple[str, str]) -> bool:
        now = time.monotonic()
        if now - self._told_at.get(key, -SILENCE_SECONDS) < SILENCE_SECONDS:
            return False
        self._told_at = {known: at for known, at in self._told_at.items() if now - at < SILENCE_SECONDS} | {key: now}
        return True


def _is_of_a_client(record: logging.LogRecord) -> bool:
    """Whether it tells of an answer like 404, which anybody can ask for: Django warns of each.

    What may be an attack has loggers of its own and stays a warning: failed CSRF checks, hosts that are not the panel's,
    wrong passwords.
    """
    answered = getattr(record, "status_code", 0)
    return record.name == "django.request" and HTTPStatus.BAD_REQUEST <= answered < HTTPStatus.INTERNAL_SERVER_ERROR


def _trouble(record: logging.LogRecord) -> BaseException | None:
    """The error that a record tells of, where it is trouble and nothing else."""
    told = record.args.values() if isinstance(record.args, Mapping) else record.args or ()
    raised = record.exc_info[1] if record.exc_info else None
    return next((one for one in (raised, *told) if isinstance(one, BaseException) and _is_trouble(one)), None)


def _is_trouble(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_trouble(part) for part in error.exceptions)
    return isinstance(error, AWAY)


def _line(record: logging.LogRecord, error: BaseException) -> str:
    """The record's message with the error's first line, which drivers follow with advice."""
    told = record.getMessage()
    if record.exc_info:
        told += f": {_innermost(error)}"
    return told.partition("\n")[0]


def _innermost(error: BaseException) -> BaseException:
    """The first error that is no group of others."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
