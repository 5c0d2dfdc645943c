"""Figures in sentences."""

from __future__ import annotations

MIB = 1024**2
GIB = 1024**3


def gib(size_bytes: int) -> str:
    """Bytes for people: ``5.2 GiB``, or ``312 MiB`` below one."""
    if abs(size_bytes) >= GIB:
        return f"{size_bytes / GIB:.1f} GiB"
    return f"{size_bytes / MIB:.0f} MiB"
