"""A limit on wrong passwords: by name and by address, counted in the cache over fixed minutes.

Web processes share one count in Redis. While it does not answer each counts by itself, so that people can still log in.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

from django.conf import settings
from django.core.cache import BaseCache, cache, caches
from redis.exceptions import RedisError

_WINDOW_SECONDS = 60


class Throttled(Exception):
    """Too many wrong passwords. ``retry_seconds`` is when the next attempt is welcome."""

    def __init__(self, retry_seconds: int) -> None:
        self.retry_seconds = retry_seconds
        super().__init__(f"Too many wrong passwords. Try again in {retry_seconds} seconds.")


def begin_attempt(name: str, address: str) -> None:
    """Count an attempt before its password is checked, so that parallel guesses do not slip through.

    Raises ``Throttled`` above ``settings.LOGIN_ATTEMPTS_PER_MINUTE`` for the name or the address.
    """
    counts = [_increase(key) for key in _keys(name, address)]
    if max(counts) > settings.LOGIN_ATTEMPTS_PER_MINUTE:
        raise Throttled(_WINDOW_SECONDS - int(time.time()) % _WINDOW_SECONDS)


def forgive_attempt(name: str, address: str) -> None:
    """Take back an attempt that succeeded: only failures count."""
    for key in _keys(name, address):
        try:
            _decrease(cache, key)
        except RedisError:
            _decrease(caches["own"], key)


def _increase(key: str) -> int:
    try:
        return _increase_in(cache, key)
    except RedisError:
        return _increase_in(caches["own"], key)


def _increase_in(counts: BaseCache, key: str) -> int:
    counts.add(key, 0, timeout=2 * _WINDOW_SECONDS)
    try:
        return counts.incr(key)
    except ValueError:  # evicted between the two calls
        return 1


def _decrease(counts: BaseCache, key: str) -> None:
    if counts.get(key):
        counts.decr(key)


def _keys(name: str, address: str) -> Iterator[str]:
    window = int(time.time()) // _WINDOW_SECONDS
    for kind, value in (("name", name.casefold()), ("address", address)):
        yield f"login:{kind}:{hashlib.sha256(value.encode()).hexdigest()}:{window}"
