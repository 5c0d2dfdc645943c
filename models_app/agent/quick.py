"""Samples as text, read in C by msgspec: nearly all that agents say. As strict as ``codec``, five times as fast."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from models_app.agent import codec
from models_app.agent.codec import Malformed

T = TypeVar("T")
_NUL = "\\u0000"
"""msgspec takes what no database does."""


def read(text: str, kind: type[T]) -> T:
    """The value in a text, of a class that bounds its numbers and times as ``probes.types`` does. Raises ``Malformed``."""
    if _NUL in text:
        return codec.made(kind, codec.loads(text))
    try:
        result: T = _decoders[kind].decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Malformed(f"This is no {kind.__name__}: {error}") from None
    return result


class _Decoders(dict[type[Any], msgspec.json.Decoder[Any]]):
    def __missing__(self, kind: type[Any]) -> msgspec.json.Decoder[Any]:
        return self.setdefault(kind, msgspec.json.Decoder(kind))


_decoders = _Decoders()
