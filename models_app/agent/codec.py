"""Frozen dataclasses as JSON values and back, by their annotations, without trusting a single type.

Fields that have their default are left out, and unknown keys are ignored, so that a newer agent and an older panel
understand each other. Everything else that does not fit its annotation is ``Malformed``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from models_app.agent.encoding import Convert, default_of, writer
from models_app.gguf.document import from_document
from models_app.gguf.header import GgufHeader

T = TypeVar("T")
MOST = 2**63 - 1
MOST_DEPTH = 12
"""Of values whose shape is free."""
_UNPRINTABLE = re.compile("[\x00\ud800-\udfff]")
"""Neither databases nor UTF-8 take these."""


class Malformed(ValueError):
    """What came is not what was agreed upon."""


def dumps(value: Any) -> str:
    """JSON values as compact text."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def loads(text: str | bytes) -> Any:
    """The JSON values in a text. Raises ``Malformed``."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"This is no JSON: {error}") from None


def _no_number(text: str) -> float:
    raise Malformed(f"{text} is no number in JSON.")


def encode(value: Any, kind: Any = None) -> Any:
    """``value`` as JSON values, by its own class or by the annotation ``kind``."""
    return writer(type(value) if kind is None else kind)(value)


def decode(kind: Any, value: Any) -> Any:
    """The value of the annotation ``kind`` that ``encode`` wrote. Raises ``Malformed``."""
    return _reader(kind)(value)


def made(kind: type[T], value: Any) -> T:
    """``decode`` for a class."""
    result: T = _reader(kind)(value)
    return result


def _reader(kind: Any) -> Convert:
    return _READERS.get(kind) or _READERS.setdefault(kind, _made_reader(kind))


def _made_reader(kind: Any) -> Convert:
    if is_dataclass(kind):
        return _read_dataclass(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _read_enum(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType) and NoneType in arguments and len(arguments) == 2:
        return _read_optional(_reader(next(each for each in arguments if each is not NoneType)))
    if origin in (tuple, frozenset, list):
        return _read_items(origin, _reader(arguments[0]))
    if origin in (dict, Mapping) or getattr(origin, "__name__", "") == "Mapping":
        return _read_mapping(_reader(arguments[1]))
    raise TypeError(f"there is no reader for {kind}")


def _read_dataclass(kind: Any) -> Convert:
    hints = get_type_hints(kind)
    parts = [(field.name, _reader(hints[field.name]), partial(default_of, field)) for field in fields(kind) if field.init]
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
    if type(value) is str:
        return _text(value)
    return _int(value) if type(value) is int else value


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
