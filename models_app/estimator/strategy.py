"""How to serve a set of models on one machine: all at once, one after the other, or some of each.

The figures decide where they can; where they leave a choice, a published table of rules of thumb does, by VRAM and number.
Bytes are those of one GPU each; a model that no single GPU holds is spread over several.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

_GIB = 1024**3
SWAP_SECONDS = 10.0
"""The upper end of a hot swap of a model that fits one GPU: 2 to 10 seconds from a fast disk, by published guides."""
READ_BYTES_PER_SECOND = 2e9
"""How fast weights come from a good disk, by the same guides: 7B in 1 to 3 s, 13B in 4 to 7 s, 70B in 15 to 30 s."""


class Strategy(StrEnum):
    """How several models share a machine."""

    CONCURRENT = "concurrent"
    HOT_SWAP = "hot_swap"
    HYBRID = "hybrid"
    """Some stay, the others are swapped."""
    CONTAINERS = "containers"
    """Each model in a server and a container of its own, for isolation."""


@dataclass(frozen=True, slots=True)
class StrategyOption:
    """One way to do it. ``stay`` and ``swap`` are indexes of the models; ``peak_bytes`` is the most that is in memory at
    once; ``fits`` says whether the machine has that."""

    strategy: Strategy
    fits: bool
    stay: tuple[int, ...]
    swap: tuple[int, ...]
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class StrategyAdvice:
    """The strategy to choose, why, and how every one of them would turn out. ``too_large`` are models that exceed the
    whole machine: they need layers in host RAM whatever is chosen."""

    strategy: Strategy
    reason: str
    options: tuple[StrategyOption, ...]
    too_large: tuple[int, ...] = ()

    @property
    def chosen(self) -> StrategyOption:
        """The advised one among the options."""
        return next(option for option in self.options if option.strategy is self.strategy)


_H, _C, _Y, _D = Strategy.HOT_SWAP, Strategy.CONCURRENT, Strategy.HYBRID, Strategy.CONTAINERS
BY_VRAM: tuple[tuple[int, tuple[Strategy, Strategy, Strategy]], ...] = (
    (8 * _GIB, (_H, _H, _H)),
    (16 * _GIB, (_C, _H, _H)),
    (24 * _GIB, (_C, _Y, _D)),
    (48 * _GIB, (_C, _C, _D)),
)
"""For 2, for 3 to 5 and for more models, by the VRAM up to which a row holds; the last row holds beyond. Published."""


def advise_strategy(
    gpu_bytes: Sequence[int],
    needed_bytes: Sequence[int],
    tolerated_seconds: float,
    swap_seconds: float = SWAP_SECONDS,
    *,
    isolated: bool = False,
) -> StrategyAdvice:
    """How to serve models that need ``needed_bytes`` each on GPUs that can give ``gpu_bytes`` each.

    ``tolerated_seconds`` is how long the first answer after a change of model may take, ``swap_seconds`` how long the
    slowest change would. ``isolated``: each is to have a server of its own. What fits together stays together.
    """
    too_large = tuple(place for place, need in enumerate(needed_bytes) if not _packs([need], gpu_bytes))
    options = _options(gpu_bytes, needed_bytes)
    together = options[0].fits
    if together and isolated:
        strategy, reason = Strategy.CONTAINERS, "All of them fit at the same time, each in a server of its own."
    elif together:
        strategy, reason = Strategy.CONCURRENT, "All of them fit at the same time."
    elif too_large:
        strategy, reason = Strategy.HOT_SWAP, "At least one model alone exceeds the memory; it needs layers in host RAM."
    else:
        strategy, reason = _for_want_of_room(options, sum(gpu_bytes), len(needed_bytes), tolerated_seconds, swap_seconds)
    return StrategyAdvice(strategy, reason, options, too_large)


def _for_want_of_room(
    options: Sequence[StrategyOption], vram_bytes: int, count: int, tolerated_seconds: float, swap_seconds: float
) -> tuple[Strategy, str]:
    """They do not fit together, but each does alone."""
    can_mix = any(option.strategy is Strategy.HYBRID and option.fits for option in options)
    if tolerated_seconds < swap_seconds:
        why = f"They do not fit together, and a change of model may take {swap_seconds:.0f} s, more than is tolerated: "
        if can_mix:
            return Strategy.HYBRID, why + "keep resident what must answer at once."
        return Strategy.HOT_SWAP, why + "smaller variants, shorter contexts or another GPU are what would help."
    usual = _from_table(vram_bytes, count)
    if usual is Strategy.CONCURRENT:
        if can_mix:
            return Strategy.HYBRID, "So few would usually stay resident together, but these do not fit."
        return Strategy.HOT_SWAP, "No two of them fit beside each other."
    if usual is Strategy.HYBRID and not can_mix:
        return Strategy.HOT_SWAP, "None can stay while the largest of the others is loaded."
    return usual, f"Rule of thumb for {count} models on {vram_bytes / _GIB:.0f} GiB."


def _options(gpu_bytes: Sequence[int], needed_bytes: Sequence[int]) -> tuple[StrategyOption, ...]:
    """In the order of the table's legend; the containers are those of a set that fits, else swapped as wholes."""
    everything = tuple(range(len(needed_bytes)))
    together = _packs(needed_bytes, gpu_bytes)
    largest_bytes, total_bytes = max(needed_bytes, default=0), sum(needed_bytes)
    each_alone = all(_packs([need], gpu_bytes) for need in needed_bytes)
    stay = _residents(gpu_bytes, needed_bytes)
    swap = tuple(place for place in everything if place not in stay)
    mixed_bytes = sum(needed_bytes[place] for place in stay) + max((needed_bytes[place] for place in swap), default=0)
    return (
        StrategyOption(Strategy.CONCURRENT, together, everything, (), total_bytes),
        StrategyOption(Strategy.HYBRID, bool(stay and swap), stay, swap, mixed_bytes),
        StrategyOption(Strategy.HOT_SWAP, each_alone, (), everything, largest_bytes),
        StrategyOption(Strategy.CONTAINERS, together, everything, (), total_bytes)
        if together
        else StrategyOption(Strategy.CONTAINERS, each_alone, (), everything, largest_bytes),
    )


def _residents(gpu_bytes: Sequence[int], needed_bytes: Sequence[int]) -> tuple[int, ...]:
    """As many of the smallest as leave room for each of the others in turn."""
    smallest_first = sorted(range(len(needed_bytes)), key=lambda place: needed_bytes[place])
    stay: list[int] = []
    for count, place in enumerate(smallest_first, 1):
        staying = [needed_bytes[each] for each in (*stay, place)]
        if not all(_packs([*staying, needed_bytes[other]], gpu_bytes) for other in smallest_first[count:]):
            break
        stay.append(place)
    return tuple(sorted(stay))


def _packs(needed_bytes: Iterable[int], gpu_bytes: Sequence[int]) -> bool:
    """Whether they find a place, the largest first and each where most is free; one that fits no GPU is spread."""
    free = sorted(gpu_bytes, reverse=True)
    for need in sorted(needed_bytes, reverse=True):
        if not free or need > sum(free):
            return False
        for place, room in enumerate(free):
            taken = min(need, room)
            free[place] -= taken
            need -= taken
            if not need:
                break
        free.sort(reverse=True)
    return True


def _from_table(vram_bytes: int, count: int) -> Strategy:
    column = 0 if count <= 2 else 1 if count <= 5 else 2
    row = next((row for limit, row in BY_VRAM if vram_bytes <= limit), BY_VRAM[-1][1])
    return row[column]
