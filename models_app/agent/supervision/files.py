"""The GGUF files in the folders that the owner of a machine allows."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models_app.agent.supervision.allowed import Allowed
from models_app.agent.supervision.spec import ServerSpec
from models_app.backends.errors import NotAllowed
from models_app.backends.file_headers import shape_of_header
from models_app.backends.protocol import InstalledModel, ModelShape
from models_app.gguf.errors import GgufError
from models_app.gguf.header import GgufHeader
from models_app.gguf.splits import read_model

MOST_FILES = 1000
MOST_ENTRIES = 200_000
MOST_SECONDS = 5.0
DEEPEST = 8
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file that a server can be started with, the first of a split model. ``size_bytes`` is that of all its parts."""

    path: str
    size_bytes: int

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return Path(self.path).name


@dataclass(frozen=True, slots=True)
class FileHeader:
    """One file with its header; without one ``problem`` says why."""

    path: str
    size_bytes: int
    header: GgufHeader | None = None
    problem: str = ""

    @property
    def shape(self) -> ModelShape | None:
        """The numbers of the header that people ask for."""
        return shape_of_header(self.header) if self.header else None


@dataclass(frozen=True, slots=True)
class Listing:
    """``is_complete`` is false where there are more files, or where the search took too long."""

    files: tuple[ModelFile, ...]
    is_complete: bool


def list_models(allowed: Allowed, wanted: str = "", most: int = MOST_FILES) -> Listing:
    """The files whose path holds every word of ``wanted``, by path, at most ``most``.

    A folder that cannot be read is empty. A link counts if what it leads to is in an allowed folder as well.
    """
    words = wanted.lower().split()
    search = _Search(time.monotonic() + MOST_SECONDS)
    sizes: dict[str, int] = {}
    for folder in allowed.model_folders:
        for path, size_bytes in search.walk(folder, 0):
            first = _first_part(path)
            if all(word in first.lower() for word in words):
                sizes[first] = sizes.get(first, 0) + size_bytes
    files = [ModelFile(path, size) for path, size in sorted(sizes.items()) if _is_allowed(allowed, path)]
    return Listing(tuple(files[:most]), is_complete=len(files) <= most and not search.was_cut)


def read_file(allowed: Allowed, path: str) -> FileHeader:
    """Size and header of a file. Raises ``NotAllowed`` outside of the folders, and ``OSError``."""
    real = allowed.model_file(path)
    size_bytes = model_bytes(real)
    try:
        return FileHeader(path, size_bytes, read_model(real))
    except (GgufError, OSError) as error:
        return FileHeader(path, size_bytes, problem=str(error))


def installed_file(allowed: Allowed, spec: ServerSpec) -> InstalledModel:
    """The spec's model as an endpoint lists it; without a size where its file cannot be seen."""
    try:
        path = allowed.model_file(spec.model)
    except NotAllowed:
        return InstalledModel(spec.name, path=spec.model)
    return InstalledModel(spec.name, size_bytes=model_bytes(path), path=str(path))


def model_bytes(path: Path) -> int:
    """The size of a model's file, all its parts together. Raises ``OSError``."""
    part = _PART.fullmatch(path.name)
    if part is None:
        return path.stat().st_size
    count = min(int(part["count"]), 10_000)
    parts = (path.with_name(f"{part['stem']}-{number:05}-of-{part['count']}.gguf") for number in range(1, count + 1))
    return sum(each.stat().st_size for each in parts if each.is_file())


class _Search:
    """A walk with an end: so many entries, so deep, so long. ``was_cut`` says that it did not see everything."""

    def __init__(self, deadline: float) -> None:
        self.was_cut = False
        self._deadline = deadline
        self._entries_left = MOST_ENTRIES

    def walk(self, folder: Path, depth: int) -> Iterator[tuple[str, int]]:
        """Path and size of each GGUF file below a folder. Links to folders are not followed."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            return
        for entry in entries:
            self._entries_left -= 1
            if self._entries_left < 0 or time.monotonic() > self._deadline:
                self.was_cut = True
                return
            if entry.is_dir(follow_symlinks=False):
                if depth < DEEPEST:
                    yield from self.walk(Path(entry.path), depth + 1)
            elif entry.name.lower().endswith(".gguf") and entry.name.isprintable():
                yield from _sized(entry)


def _sized(entry: os.DirEntry[str]) -> Iterator[tuple[str, int]]:
    try:
        if entry.is_file():
            yield entry.path, entry.stat().st_size
    except OSError:
        return


def _first_part(path: str) -> str:
    part = _PART.fullmatch(Path(path).name)
    return str(Path(path).with_name(f"{part['stem']}-00001-of-{part['count']}.gguf")) if part else path


def _is_allowed(allowed: Allowed, path: str) -> bool:
    try:
        allowed.model_file(path)
    except NotAllowed:
        return False
    return True
