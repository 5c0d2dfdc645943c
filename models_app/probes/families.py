"""A process and what it has started."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

PROC = Path("/proc")


def process_family(pid: int, proc: Path = PROC) -> frozenset[int]:
    """The process and all its descendants at this moment; empty when it has gone.

    Linux tells a process's children without a look at all others (``/proc/[pid]/task/[tid]/children``, proc(5)).
    """
    if not (proc / str(pid) / "task" / str(pid) / "children").exists():
        return _by_parents(pid)
    family, found = set[int](), {pid}
    while found:
        family |= found
        found = {child for each in found for child in _children(proc / str(each) / "task")} - family
    return frozenset(family)


def _children(tasks: Path) -> list[int]:
    """Of every thread; one that has gone meanwhile has none."""
    found: list[int] = []
    for children in tasks.glob("*/children"):
        with suppress(OSError):
            found += map(int, children.read_text(encoding="ascii").split())
    return found


def _by_parents(pid: int) -> frozenset[int]:
    """From the parents of all processes: for other systems, and kernels that were built without the file."""
    try:
        return frozenset({pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))})
    except psutil.Error:
        return frozenset()
