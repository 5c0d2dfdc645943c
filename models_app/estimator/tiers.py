"""What a machine of a size is good for: recommended configurations for GPUs, for CPUs alone and for unified memory.

Rules of thumb from published guides, not measurements. They are the defaults of a table that each panel may edit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_GIB = 1024**3
NOMINAL_SHARE = 0.94
"""A card sold as 24 GB reports a little less than 24 GiB: a range begins, and ends, at this share of its limits."""


class TierKind(StrEnum):
    """The memory that a tier is about."""

    VRAM = "vram"
    CPU_ONLY = "cpu_only"
    UNIFIED = "unified"


@dataclass(frozen=True, slots=True)
class Tier:
    """A recommended configuration from ``from_bytes`` up to ``to_bytes`` of memory, ``None`` having no upper end.

    The memory is the VRAM of all GPUs together, or all memory where it is unified or RAM. ``context_length`` is in tokens;
    the other columns are words for people.
    """

    name: str
    kind: TierKind
    from_bytes: int
    to_bytes: int | None
    model_sizes: str
    quantization: str
    context_length: int
    strategy: str
    note: str = ""


def _tier(
    name: str,
    kind: TierKind,
    low_gib: int,
    high_gib: int | None,
    model_sizes: str,
    quantization: str,
    context_length: int,
    strategy: str,
    note: str = "",
) -> Tier:
    to_bytes = None if high_gib is None else high_gib * _GIB
    return Tier(name, kind, low_gib * _GIB, to_bytes, model_sizes, quantization, context_length, strategy, note)


_VRAM, _CPU, _UNIFIED = TierKind

DEFAULT_TIERS: tuple[Tier, ...] = (
    _tier("Small GPU", _VRAM, 4, 8, "7B with about half of its layers", "Q4_K_M", 2048, "One at a time",
          "KV cache in host RAM"),
    _tier("8 GB GPU", _VRAM, 8, 12, "7B, or 13B with about 75 % of its layers", "Q4_K_M", 2048, "Hot swap only",
          "for the 13B: KV cache in host RAM, batch 256"),
    _tier("12 GB GPU", _VRAM, 12, 16, "13B", "Q4_K_M", 4096, "Hot swap; two together only where both are small"),
    _tier("16 GB GPU", _VRAM, 16, 24, "13B", "Q5_K_M or Q8_0", 4096, "Two small ones together; hot swap for three and more",
          "70B Q4_K_M with about half of its layers runs, slowly"),
    _tier("24 GB GPU", _VRAM, 24, 48, "34B, or two or three 7B", "Q4_K_M", 4096,
          "Two together; of more, the small ones together and the large ones swapped"),
    _tier("48 GB of VRAM", _VRAM, 48, 96, "70B, or four to six 7B", "Q5_K_M for the important one, Q4_K_M for others", 8192,
          "All together", "one card, or two of 24 GB"),
    _tier("96 GB of VRAM", _VRAM, 96, None, "70B, or eight and more of 7B and 13B", "Q8_0 for the main, Q4_K_M for others",
          8192, "All together; a server of its own for each in production"),
    _tier("CPU, 16 GB RAM", _CPU, 8, 32, "7B", "Q4_K_M", 2048, "Keep one, swap the others on demand",
          "guides disagree: 1 to 3 tokens/s on two channels of DDR5, or 8 to 15"),
    _tier("CPU, 32 GB RAM", _CPU, 32, 64, "13B", "Q4_K_M", 4096, "Keep one, swap the others on demand",
          "about half of the speed of a 7B"),
    _tier("CPU, 64 GB RAM", _CPU, 64, None, "34B", "Q4_K_M", 4096, "One large or several small ones",
          "slow: for batches, not for conversations"),
    _tier("Unified, 16 GB", _UNIFIED, 8, 32, "7B", "Q4_K_M", 4096, "One at a time", "leave 8 GiB to the system"),
    _tier("Unified, 32 GB", _UNIFIED, 32, 64, "13B", "Q5_K_M", 4096, "Two small ones together",
          "leave 8 GiB to the system"),
    _tier("Unified, 64 GB", _UNIFIED, 64, 128, "34B, or 70B in Q3_K_M", "Q5_K_M", 4096, "A large one beside a small one"),
    _tier("Unified, 128 GB", _UNIFIED, 128, None, "70B beside an 8B", "Q6_K", 8192, "All together",
          "34B Q4_K_M reaches 10 tokens/s and more"),
)  # fmt: skip


def tier_for(memory_bytes: int, kind: TierKind, tiers: Sequence[Tier] = DEFAULT_TIERS) -> Tier | None:
    """The first tier of this kind whose range holds the memory; ``None`` where none does."""
    return next((tier for tier in tiers if tier.kind is kind and _holds(tier, memory_bytes)), None)


def _holds(tier: Tier, memory_bytes: int) -> bool:
    is_below = tier.to_bytes is None or memory_bytes < NOMINAL_SHARE * tier.to_bytes
    return NOMINAL_SHARE * tier.from_bytes <= memory_bytes and is_below
