"""Who holds a GPU's used bytes: models, other programs, and what nobody accounts for. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from models_app.probes.types import GpuProcess, GpuSample

Owner = TypeVar("Owner", bound=Hashable)


class Coverage(StrEnum):
    """How much of the process list the driver gave."""

    FULL = "full"
    PARTIAL = "partial"
    """Some process hides its bytes; they are among the unexplained."""
    UNAVAILABLE = "unavailable"
    """No process list, or none with bytes (MIG, WSL, containers): everything is unexplained."""


@dataclass(frozen=True, slots=True)
class Attribution(Generic[Owner]):
    """The parts of ``used_bytes`` of one GPU. They add up to it exactly; none is negative."""

    coverage: Coverage
    used_bytes: int
    owner_bytes: Mapping[Owner, int]
    """Bytes of each owner that has a process with known bytes on this GPU."""
    other_bytes: Mapping[str, int]
    """Bytes of every other process, by its name; processes of one name are added up."""
    unexplained_bytes: int
    """Used, but by no process that the driver lists."""


def attribute(sample: GpuSample, pids: Mapping[Owner, Iterable[int]]) -> Attribution[Owner]:
    """Divide a GPU's used bytes among owners (known by their processes), other programs and the unexplained rest.

    A pid that two owners claim counts for the first. When the processes hold more than is used, for the figures were
    taken one after the other, each shrinks in proportion.
    """
    used_bytes = max(0, sample.used_bytes)
    known = [(process, process.used_bytes) for process in sample.processes or () if process.used_bytes is not None]
    owner_of_pid = {pid: owner for owner in reversed(list(pids)) for pid in pids[owner]}
    owner_bytes: dict[Owner, int] = {}
    other_bytes: dict[str, int] = {}
    claimed_bytes = sum(max(0, held) for _, held in known)
    for process, held in known:
        part = _share(held, claimed_bytes, used_bytes)
        if process.pid in owner_of_pid:
            _add(owner_bytes, owner_of_pid[process.pid], part)
        else:
            _add(other_bytes, process.name or f"pid {process.pid}", part)
    explained_bytes = sum(owner_bytes.values()) + sum(other_bytes.values())
    return Attribution(_coverage(sample.processes), used_bytes, owner_bytes, other_bytes, used_bytes - explained_bytes)


def _share(held_bytes: int, claimed_bytes: int, used_bytes: int) -> int:
    """``held_bytes``, or its proportion of ``used_bytes`` rounded down when all claims together exceed that."""
    if claimed_bytes <= used_bytes:
        return max(0, held_bytes)
    return max(0, held_bytes) * used_bytes // claimed_bytes


def _coverage(processes: tuple[GpuProcess, ...] | None) -> Coverage:
    if processes is None:
        return Coverage.UNAVAILABLE
    hidden = sum(process.used_bytes is None for process in processes)
    if not hidden:
        return Coverage.FULL
    return Coverage.UNAVAILABLE if hidden == len(processes) else Coverage.PARTIAL


Key = TypeVar("Key", bound=Hashable)


def _add(totals: dict[Key, int], key: Key, count_bytes: int) -> None:
    totals[key] = totals.get(key, 0) + count_bytes
