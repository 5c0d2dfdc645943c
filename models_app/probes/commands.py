"""What a process was started as."""

from __future__ import annotations

import time
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import psutil

SETTLED_SECONDS = 2.0
"""A process younger than this may still show its parent's arguments: it was forked and has not begun its own program."""


def command_line(pid: int, started_at: float | None) -> tuple[str, ...]:
    """The arguments of a process; empty when it has gone or may not be seen.

    Remembered by pid and start time, in seconds since the epoch, once it has settled; where that is not known they are
    read anew.
    """
    if started_at is None or time.time() - started_at < SETTLED_SECONDS:
        return _arguments(pid)
    return _remembered(pid, started_at)


@lru_cache(maxsize=1024)
def _remembered(pid: int, started_at: float) -> tuple[str, ...]:  # noqa: ARG001 - part of a process's identity
    return _arguments(pid)


def _arguments(pid: int) -> tuple[str, ...]:
    try:
        return tuple(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ()


def start_time(pid: int) -> float | None:
    """When a process was started, in seconds since the epoch; ``None`` when it has gone."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def flag(arguments: tuple[str, ...], *names: str) -> str:
    """The value that follows the first of these flags, as in ``--alias NAME`` or ``--alias=NAME``; empty without one."""
    for argument, following in pairwise((*arguments, "")):
        name, equals, value = argument.partition("=")
        if name in names:
            return value if equals else following
    return ""


def file_size(path: str) -> int | None:
    """The size of a file in bytes; ``None`` where it cannot be seen."""
    try:
        return Path(path).stat().st_size if path else None
    except OSError:
        return None


def process_named(name: str, port: int) -> int | None:
    """The process of that name that was started with ``--port``, else the only one of them; ``None`` where nothing tells.

    Those that another of the same name started do not count.
    """
    found = {}
    for process in psutil.process_iter(["name", "ppid"]):
        if process.info["name"] == name:
            found[process.pid] = process.info["ppid"]
    roots = [pid for pid, parent in found.items() if parent not in found]
    named = [pid for pid in roots if flag(_arguments(pid), "--port") == str(port)]
    fitting = named or roots
    return fitting[0] if len(fitting) == 1 else None
