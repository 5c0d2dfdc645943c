"""Models split over several files, as ``llama-gguf-split`` writes them: ``NAME-00001-of-00003.gguf``."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from models_app.gguf.errors import MissingSplit
from models_app.gguf.header import GgufHeader
from models_app.gguf.limits import MAX_SPLITS
from models_app.gguf.reader import read_header

_SPLIT_NAME = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


def read_model(path: str | os.PathLike[str]) -> GgufHeader:
    """Read a model given any one of its files; the tensors of all parts are together in the result.

    Raises ``MissingSplit`` where a part is absent, ``GgufError`` for a bad part, ``OSError`` for an unreadable one.
    """
    header = read_header(path)
    if split_count(header) == 1:
        return header
    headers = [_read_part(part, number) for number, part in enumerate(split_paths(Path(path), split_count(header)))]
    tensors = tuple(tensor for part in headers for tensor in part.tensors)
    expected = headers[0].metadata.get("split.tensors.count", len(tensors))
    if len(tensors) != expected:
        raise MissingSplit(f"The parts hold {len(tensors)} tensors, not the {expected} that the first one announces.")
    return replace(headers[0], tensors=tensors)


def split_count(header: GgufHeader) -> int:
    """In how many files the model lies. Raises ``MissingSplit`` for an impossible number."""
    count = header.metadata.get("split.count", 1)
    if not isinstance(count, int) or not 0 <= count <= MAX_SPLITS:
        raise MissingSplit(f"split.count is {count!r}, not a number of files up to {MAX_SPLITS}.")
    return max(1, count)


def split_paths(path: Path, count: int) -> list[Path]:
    """The files of a split model, given one of them. Raises ``MissingSplit`` where the name does not follow the scheme."""
    match = _SPLIT_NAME.fullmatch(path.name)
    if match is None or int(match["count"]) != count:
        raise MissingSplit(f"{path.name} is one of {count} parts, but is not named NAME-00001-of-{count:05}.gguf.")
    return [path.with_name(f"{match['stem']}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]


def _read_part(path: Path, number: int) -> GgufHeader:
    try:
        header = read_header(path)
    except FileNotFoundError:
        raise MissingSplit(f"The part {path.name} is missing.") from None
    if header.metadata.get("split.no") != number:
        raise MissingSplit(f"{path.name} says that it is part {header.metadata.get('split.no')!r}, not {number}.")
    return header
