"""How to serve a set of models on one machine, how long to keep them, and what suits which hardware.

The tables are published guides for planning, not measurements; every answer names its reason. They are data, meant to be
edited.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_GIB = 1024**3
SWAP_SECONDS = 10.0
"""The upper end of a hot swap of a model that fits one GPU: 2 to 10 seconds from a fast disk."""
SHORTEST_KEEP_ALIVE_SECONDS = 300
LONGEST_KEEP_ALIVE_SECONDS = 1800


class Strategy(StrEnum):
    """How several models share a machine."""

    CONCURRENT = "concurrent"
    HOT_SWAP = "hot_swap"
    HYBRID = "hybrid"
    """The small or busy ones stay, the large ones are swapped."""
    CONTAINERS = "containers"
    """Each model in a container of its own, for isolation."""


@dataclass(frozen=True, slots=True)
class StrategyAdvice:
    """A strategy and why."""

    strategy: Strategy
    reason: str


_BY_VRAM: tuple[tuple[int, tuple[Strategy, Strategy, Strategy]], ...] = (
    (8 * _GIB, (Strategy.HOT_SWAP, Strategy.HOT_SWAP, Strategy.HOT_SWAP)),
    (16 * _GIB, (Strategy.CONCURRENT, Strategy.HOT_SWAP, Strategy.HOT_SWAP)),
    (24 * _GIB, (Strategy.CONCURRENT, Strategy.HYBRID, Strategy.CONTAINERS)),
    (48 * _GIB, (Strategy.CONCURRENT, Strategy.CONCURRENT, Strategy.CONTAINERS)),
)
"""For 2, for 3 to 5 and for more models, by the VRAM up to which a row holds; the last row holds beyond."""


def advise_strategy(vram_bytes: int, needed_bytes: Sequence[int], tolerated_latency_seconds: float) -> StrategyAdvice:
    """How to serve models that need ``needed_bytes`` each on ``vram_bytes`` in all.

    ``tolerated_latency_seconds`` is how long the first answer after a change of model may take. What fits together stays
    together; otherwise the published table by VRAM and number decides, unless nobody can wait for a swap.
    """
    if sum(needed_bytes) <= vram_bytes:
        return StrategyAdvice(Strategy.CONCURRENT, "All models fit at the same time.")
    if max(needed_bytes) > vram_bytes:
        return StrategyAdvice(Strategy.HOT_SWAP, "At least one model alone exceeds the VRAM; it needs layers in host RAM.")
    if tolerated_latency_seconds < SWAP_SECONDS:
        reason = f"They do not fit together, and a swap may take up to {SWAP_SECONDS:.0f} s: keep the busy ones resident."
        return StrategyAdvice(Strategy.HYBRID, reason)
    chosen = _from_table(vram_bytes, len(needed_bytes))
    if chosen is Strategy.CONCURRENT:
        return StrategyAdvice(Strategy.HYBRID, "So few would usually stay resident together, but these do not fit.")
    return StrategyAdvice(chosen, f"Usual for {len(needed_bytes)} models on {vram_bytes / _GIB:.0f} GiB.")


def _from_table(vram_bytes: int, count: int) -> Strategy:
    column = 0 if count <= 2 else 1 if count <= 5 else 2
    row = next((row for limit, row in _BY_VRAM if vram_bytes <= limit), _BY_VRAM[-1][1])
    return row[column]


@dataclass(frozen=True, slots=True)
class KeepAliveAdvice:
    """``seconds`` to keep an idle model; 0 unloads at once."""

    seconds: int
    reason: str


def advise_keep_alive(requests_per_hour: float) -> KeepAliveAdvice:
    """How long an idle model should stay, from how often it is asked: twice the usual gap, within 5 to 30 minutes.

    Shorter causes cold starts again and again, longer holds VRAM for nobody.
    """
    if requests_per_hour <= 0:
        return KeepAliveAdvice(0, "Nobody asks for it.")
    gap_seconds = 3600 / requests_per_hour
    if gap_seconds > LONGEST_KEEP_ALIVE_SECONDS:
        return KeepAliveAdvice(SHORTEST_KEEP_ALIVE_SECONDS, "Asked too seldom to be worth waiting for the next request.")
    seconds = min(LONGEST_KEEP_ALIVE_SECONDS, max(SHORTEST_KEEP_ALIVE_SECONDS, round(2 * gap_seconds)))
    return KeepAliveAdvice(seconds, f"Twice the usual {gap_seconds:.0f} s between requests, within 5 to 30 minutes.")
