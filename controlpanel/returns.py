"""The return of PostgreSQL and of Redis, in one line of each process that met their absence."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import redis
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0


class Return:
    """Looks out for what is away, once a second in a thread of its own for as long as it does not answer.

    What answers at once was not away, whatever else was wrong with it. Told as a warning, so that whoever logs no more than
    warnings reads of both ends.
    """

    def __init__(self, name: str, ask: Callable[[], None], away: tuple[type[Exception], ...]) -> None:
        self._name, self._ask, self._away = name, ask, away
        self._lookout = threading.Lock()

    def await_it(self) -> None:
        """There was trouble with it. While it is looked out for already, that is no news."""
        if self._lookout.acquire(blocking=False):
            threading.Thread(target=self._look_out, name=f"return of {self._name}", daemon=True).start()

    def _look_out(self) -> None:
        began, was_away = time.monotonic(), False
        try:
            while not self._answers():
                was_away = True
                time.sleep(PAUSE_SECONDS)
        finally:
            self._lookout.release()
        if was_away:
            log.warning("%s answers again; it was away for %.0f s", self._name, time.monotonic() - began)

    def _answers(self) -> bool:
        try:
            self._ask()
        except self._away:
            return False
        return True


def _ask_postgresql() -> None:
    fresh = connection.copy()
    with fresh.wrap_database_errors:
        fresh.connect()
    fresh.close()


def _ask_redis() -> None:
    with redis.Redis.from_url(settings.REDIS_URL, **settings.REDIS_PATIENCE) as client:
        client.ping()


_POSTGRESQL = Return("PostgreSQL", _ask_postgresql, (OperationalError, InterfaceError))
_REDIS = Return("Redis", _ask_redis, (RedisError, OSError))


def await_return(error: BaseException) -> None:
    """Look out for what an error is about, where it is a server that can be away."""
    if isinstance(error, RedisError | BrokerError):
        if settings.REDIS_URL:
            _REDIS.await_it()
    elif connection.vendor == "postgresql":
        _POSTGRESQL.await_it()
