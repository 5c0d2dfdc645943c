"""The host's own memory."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import psutil

from models_app.probes.types import MemoryPressure, RamSample

PROC = Path("/proc")


def sample_ram(proc: Path = PROC) -> RamSample:
    """The kernel's count of RAM and swap, in bytes. Raises OSError where the kernel does not tell.

    ``proc`` is where huge pages and pressure are read; both are left out where it does not have them.
    """
    memory = psutil.virtual_memory()
    swap = psutil.swap_memory()
    total_pages, free_pages, page_bytes = _huge_pages(proc)
    return RamSample(
        total_bytes=memory.total,
        available_bytes=memory.available,
        swap_total_bytes=swap.total,
        swap_used_bytes=swap.used,
        swapped_in_bytes=swap.sin,
        swapped_out_bytes=swap.sout,
        cached_bytes=getattr(memory, "cached", 0),
        huge_pages_total_bytes=total_pages * page_bytes,
        huge_pages_free_bytes=free_pages * page_bytes,
        pressure=_pressure(proc),
    )


def oom_kills(proc: Path = PROC) -> int:
    """How many processes the kernel has ended for lack of memory since it started, 0 where it does not count them.

    Source: ``oom_kill`` of ``/proc/vmstat``, Linux 4.13; it counts those of every control group.
    """
    found = re.search(r"^oom_kill (\d+)$", _text(proc / "vmstat"), re.M)
    return int(found[1]) if found else 0


def _huge_pages(proc: Path) -> tuple[int, int, int]:
    """How many there are, how many are free, and the bytes of one. Source: ``/proc/meminfo``, proc_meminfo(5)."""
    found = dict(re.findall(r"^(HugePages_Total|HugePages_Free|Hugepagesize):\s+(\d+)", _text(proc / "meminfo"), re.M))
    return (
        int(found.get("HugePages_Total", 0)),
        int(found.get("HugePages_Free", 0)),
        1024 * int(found.get("Hugepagesize", 0)),
    )


def _pressure(proc: Path) -> MemoryPressure | None:
    """Source: ``/proc/pressure/memory``, which kernels without PSI lack."""
    found = dict(re.findall(r"^(some|full) .*?avg60=([\d.]+)", _text(proc / "pressure" / "memory"), re.M))
    return MemoryPressure(float(found["some"]), float(found.get("full", 0))) if "some" in found else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def resident_bytes(pids: Iterable[int]) -> int:
    """What processes hold resident in host RAM, mapped files included; those that have gone hold nothing."""
    return sum(_resident_bytes(pid) for pid in pids)


def _resident_bytes(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
