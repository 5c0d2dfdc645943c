"""Errors of backends as values, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models_app.agent.messages import Failed
from models_app.backends.errors import BackendError, Rejected

MOST_CHARACTERS = 2000


def failed(error: BackendError) -> Failed:
    """The error as a value."""
    option = error.option if isinstance(error, Rejected) else ""
    return Failed(error.code, error.message[:MOST_CHARACTERS], error.hint[:MOST_CHARACTERS], option, error.status)


def error_of(value: Failed) -> BackendError:
    """The error that the value describes; one of the family's base for a code that is not known here."""
    kind = _BY_CODE.get(value.code, BackendError)
    more: dict[str, Any] = {"option": value.option} if issubclass(kind, Rejected) else {}
    return kind(value.message, hint=value.hint, status=value.status, **more)


def _family(kind: type[BackendError]) -> Iterator[type[BackendError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _family(child)


_BY_CODE = {kind.code: kind for kind in _family(BackendError)}
