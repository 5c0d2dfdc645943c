"""The host's own memory."""

from __future__ import annotations

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
