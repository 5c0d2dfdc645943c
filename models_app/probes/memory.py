"""The host's own memory."""

from __future__ import annotations

from collections.abc import Iterable

import psutil

from models_app.probes.types import RamSample


def sample_ram() -> RamSample:
    """The kernel's count of RAM and swap, in bytes. Raises OSError where the kernel does not tell."""
    memory = psutil.virtual_memory()
    swap = psutil.swap_memory()
    return RamSample(
        total_bytes=memory.total,
        available_bytes=memory.available,
        swap_total_bytes=swap.total,
        swap_used_bytes=swap.used,
    )


def resident_bytes(pids: Iterable[int]) -> int:
    """What processes hold resident in host RAM, mapped files included; those that have gone hold nothing."""
    return sum(_resident_bytes(pid) for pid in pids)


def _resident_bytes(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
