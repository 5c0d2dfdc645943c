"""Frozen dataclasses as JSON values, by their annotations. Fields that have their default are left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from models_app.gguf.document import as_document
from models_app.gguf.header import GgufHeader

Convert = Callable[[Any], Any]


def writer(kind: Any) -> Convert:
    """What turns a value of this annotation into JSON values; made once."""
    return _WRITERS.get(kind) or _WRITERS.setdefault(kind, _made_writer(kind))


def _made_writer(kind: Any) -> Convert:
    if is_dataclass(kind):
        return _write_dataclass(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return lambda value: value.value
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _optional(writer(next(each for each in arguments if each is not NoneType)))
    if origin is frozenset:
        inner = writer(arguments[0])
        return lambda value: sorted(map(inner, value))
    if origin in (tuple, list):
        inner = writer(arguments[0])
        return lambda value: list(map(inner, value))
    inner = writer(arguments[1]) if arguments else _same
    return lambda value: {key: inner(each) for key, each in value.items()}


def _optional(inner: Convert) -> Convert:
    return lambda value: None if value is None else inner(value)


def _write_dataclass(kind: Any) -> Convert:
    hints = get_type_hints(kind)
    parts = [(f.name, writer(hints[f.name]), default_of(f)) for f in fields(kind) if f.init]

    def write(value: Any) -> Any:
        return {name: write_part(part) for name, write_part, default in parts if (part := getattr(value, name)) != default}

    return write


def default_of(field: Any) -> Any:
    """The default of a dataclass's field; ``MISSING`` where it has none."""
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def _same(value: Any) -> Any:
    return value


_WRITERS: dict[Any, Convert] = {
    str: _same,
    int: _same,
    float: _same,
    bool: _same,
    NoneType: _same,
    Any: _same,
    datetime: datetime.isoformat,
    GgufHeader: as_document,
}
