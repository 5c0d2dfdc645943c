"""The log of a server: written by the server itself, so that nothing in between can end it; bounded and read from here."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

MAX_LINE_LENGTH = 500
READ_AT_ONCE_BYTES = 64 * 1024
TAIL_BYTES = 16 * 1024
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def open_log(path: Path) -> int:
    """A descriptor that appends to the log, or one that throws away where no file can be written: a server needs no log."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def rotate(path: Path, most_bytes: int) -> None:
    """Keep one older log beside a full one. The server goes on writing to the same file: it appends, so it is cut."""
    try:
        if path.stat().st_size <= most_bytes:
            return
        try:
            shutil.copyfile(path, path.with_name(path.name + ".1"))
        finally:
            os.truncate(path, 0)
    except OSError:
        return


def remove(path: Path) -> None:
    """The log and the older one beside it. Raises ``OSError``."""
    for file in (path, path.with_name(path.name + ".1")):
        file.unlink(missing_ok=True)


def size_bytes(path: Path) -> int:
    """How long the log is; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def tail(path: Path, count: int, offset: int = 0) -> list[str]:
    """The last lines from ``offset`` on, at most ``count``."""
    size = size_bytes(path)
    first = max(offset if offset <= size else 0, size - TAIL_BYTES)
    return _lines(_read(path, first, TAIL_BYTES))[-count:] if count else []


class LogReader:
    """Reads what is added to a log from ``offset`` on, whole lines only."""

    def __init__(self, path: Path, offset: int) -> None:
        self._path = path
        self._offset = offset
        self._begun = b""

    def read(self) -> list[str]:
        """The lines since the last call; the first 64 KiB of them."""
        if size_bytes(self._path) < self._offset:
            self._offset, self._begun = 0, b""
        added = _read(self._path, self._offset, READ_AT_ONCE_BYTES)
        self._offset += len(added)
        whole, newline, self._begun = (self._begun + added).rpartition(b"\n")
        self._begun = self._begun[-READ_AT_ONCE_BYTES:]
        return _lines(whole) if newline else []


def _read(path: Path, offset: int, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            if not path.is_file():
                return b""
            file.seek(offset)
            return file.read(count)
    except OSError:
        return b""


def _lines(content: bytes) -> list[str]:
    text = _COLOUR.sub("", content.decode(errors="replace"))
    return [_UNPRINTABLE.sub("\ufffd", line)[:MAX_LINE_LENGTH] for line in text.splitlines() if line.strip()]
