"""Which models make way when another is asked for, within the bytes of a swap space.

Least recently used among those of lowest priority, but never a pinned one, and one that has not yet been resident for
``minimum_residence_seconds`` only when nothing else is left. An idle model is kept: memory that nobody wants costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SwapModel:
    """A model that shares the space. Priority 1 stays longest; a ``pinned`` one is never evicted."""

    name: str
    bytes: int
    priority: int = 3
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Resident:
    """A model in the space. A ``busy`` one is answering and cannot go. Times are seconds of one clock."""

    model: SwapModel
    loaded_at: float
    used_at: float
    busy: bool = False


@dataclass(frozen=True, slots=True)
class Swap:
    """What to evict, in order. Without ``possible`` there is no room even so, and ``reason`` says why in numbers.

    ``young`` are among the evicted, and had not been resident for the minimum.
    """

    evict: tuple[str, ...]
    possible: bool = True
    reason: str = ""
    young: tuple[str, ...] = ()


def make_room(
    wanted: SwapModel,
    residents: Iterable[Resident],
    space_bytes: int,
    now: float,
    minimum_residence_seconds: float = 30.0,
) -> Swap:
    """What has to go before ``wanted`` can be loaded."""
    listed = list(residents)
    if any(it.model.name == wanted.name for it in listed):
        return Swap(())
    missing = sum(it.model.bytes for it in listed) + wanted.bytes - space_bytes
    movable = [it for it in listed if not it.model.pinned and not it.busy]
    if missing > sum(it.model.bytes for it in movable):
        return Swap((), possible=False, reason=_reason(wanted, listed, movable, space_bytes))
    young = {it.model.name for it in movable if now - it.loaded_at < minimum_residence_seconds}
    order = sorted(movable, key=lambda it: (it.model.name in young, -it.model.priority, it.used_at, it.model.name))
    evicted = _without_needless(_until(order, missing), missing)
    names = tuple(it.model.name for it in evicted)
    return Swap(names, young=tuple(name for name in names if name in young))


def _until(order: list[Resident], missing: int) -> list[Resident]:
    taken: list[Resident] = []
    for resident in order:
        if sum(it.model.bytes for it in taken) >= missing:
            break
        taken.append(resident)
    return taken


def _without_needless(taken: list[Resident], missing: int) -> list[Resident]:
    """Spares, from the most valuable back, whatever the later ones made needless."""
    kept = list(taken)
    for resident in reversed(taken):
        if sum(it.model.bytes for it in kept) - resident.model.bytes >= missing:
            kept.remove(resident)
    return kept


def _reason(wanted: SwapModel, listed: list[Resident], movable: list[Resident], space_bytes: int) -> str:
    fixed = sum(it.model.bytes for it in listed) - sum(it.model.bytes for it in movable)
    return f"{wanted.name} needs {wanted.bytes} bytes of {space_bytes}; {fixed} are held by pinned or busy models."
