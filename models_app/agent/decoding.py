"""Frozen dataclasses from JSON values, by their annotations, without trusting a single type."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from models_app.agent.encoding import Convert, default_of
from models_app.gguf.document import from_document
from models_app.gguf.header import GgufHeader

MOST = 2**63 - 1
MOST_DEPTH = 12
"""Of values whose shape is free."""
_UNPRINTABLE = re.compile("[\x00\ud800-\udfff]")
"""Neither databases nor UTF-8 take these."""


class Malformed(ValueError):
    """What came is not what was agreed upon."""


def reader(kind: Any) -> Convert:
    """What makes a value of this annotation from JSON values; made once. It raises ``Malformed``."""
    return _READERS.get(kind) or _READERS.setdefault(kind, _made_reader(kind))


def _made_reader(kind: Any) -> Convert:
    if is_dataclass(kind):
        return _read_dataclass(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _read_enum(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType) and NoneType in arguments and len(arguments) == 2:
        return _read_optional(reader(next(each for each in arguments if each is not NoneType)))
    if origin in (tuple, frozenset, list):
        return _read_items(origin, reader(arguments[0]))
    if origin in (dict, Mapping) or getattr(origin, "__name__", "") == "Mapping":
        return _read_mapping(reader(arguments[1]))
    raise TypeError(f"there is no reader for {kind}")


def _read_dataclass(kind: Any) -> Convert:
    hints = get_type_hints(kind)
    parts = [(field.name, reader(hints[field.name]), partial(default_of, field)) for field in fields(kind) if field.init]
    required = {name for name, _, default in parts if default() is MISSING}

    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise Malformed(f"{kind.__name__} is no object")
        if not value.keys() >= required:
            raise Malformed(f"{kind.__name__} lacks a field")
        try:
            return kind(*[reader(value[name]) if name in value else default() for name, reader, default in parts])
        except ValueError as error:
            raise Malformed(str(error)) from None

    return read


def _read_enum(kind: type[Enum]) -> Convert:
    members = {member.value: member for member in kind}

    def read(value: Any) -> Any:
        if type(value) is not str or value not in members:
            raise Malformed(f"this is no {kind.__name__}")
        return members[value]

    return read


def _read_optional(inner: Convert) -> Convert:
    return lambda value: None if value is None else inner(value)


def _read_items(origin: Any, inner: Convert) -> Convert:
    def read(value: Any) -> Any:
        if type(value) is not list:
            raise Malformed("this is no list")
        return origin(map(inner, value))

    return read


def _read_mapping(inner: Convert) -> Convert:
    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise Malformed("this is no object")
        return {_text(key): inner(each) for key, each in value.items()}

    return read


def _text(value: Any) -> str:
    if type(value) is not str or ((not value.isascii() or "\x00" in value) and _UNPRINTABLE.search(value)):
        raise Malformed("this is no text")
    return value


def _int(value: Any) -> int:
    if type(value) is not int or not -MOST <= value <= MOST:
        raise Malformed("this is no whole number")
    return value


def _float(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise Malformed("this is no number")
    return float(value)


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise Malformed("this is neither true nor false")
    return value


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(value))
        return moment.astimezone(UTC) if moment.tzinfo else _no_moment()
    except (ValueError, OverflowError):
        return _no_moment()


def _no_moment() -> datetime:
    raise Malformed("this is no time with its zone")


def _free(value: Any, depth: int = MOST_DEPTH) -> Any:
    """JSON of any shape, but of bounded depth and with texts that can be stored."""
    if depth == 0:
        raise Malformed("this is nested too deeply")
    if type(value) is dict:
        return {_text(key): _free(each, depth - 1) for key, each in value.items()}
    if type(value) is list:
        return [_free(each, depth - 1) for each in value]
    scalar = {str: _text, int: _int, float: _float}.get(type(value))
    return scalar(value) if scalar else value


def _header(value: Any) -> GgufHeader:
    try:
        return from_document(_free(value))
    except ValueError as error:
        raise Malformed(str(error)) from None


_READERS: dict[Any, Convert] = {
    NoneType: lambda _: None,
    str: _text,
    int: _int,
    float: _float,
    bool: _bool,
    datetime: _moment,
    Any: _free,
    GgufHeader: _header,
}
