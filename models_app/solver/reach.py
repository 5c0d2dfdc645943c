"""What a placement of some worth may use: the patterns, and the choices with their devices, that lose little enough.

The prices of a part bound what its placements are worth, and tell how much is lost by a pattern that is not the dearest, or
by taking a seat. What loses more than lies between the bound and the worth that is looked for is in no such placement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from models_app.solver.dominance import Choices
from models_app.solver.enumeration import Patterns, best_patterns
from models_app.solver.parts import Part
from models_app.solver.patterns import NOISE, Floats, GpuClass, Seat, losses
from models_app.solver.programme import Programme


@dataclass(frozen=True, slots=True)
class Pool:
    """The best patterns of each class. A placement of the part that uses others is worth no more than ``elsewhere``."""

    patterns: list[Patterns]
    elsewhere: float

    def __len__(self) -> int:
        return sum(map(len, self.patterns))


def pool_reaching(programme: Programme, part: Part, least: int, most: int) -> Pool:
    """What a placement of a part worth ``least`` may use, or the best ``most`` patterns of that."""
    listed, duals = list[Patterns](), programme.padded(part.duals)
    prices = programme.seat_worth - programme.seat_rows @ duals
    allowance, complete = part.priced - least + NOISE, math.inf
    for gpus, swap_price in zip(programme.classes, programme.swap_rows @ duals, strict=True):
        found, cut = best_patterns(gpus, prices, float(swap_price), min(allowance, complete), most)
        listed.append(found)
        complete = min(complete, cut)
    turn = [NOISE * np.arange(len(patterns)) for patterns in listed]
    ranked = [patterns.losses + after for patterns, after in zip(listed, turn, strict=True)]
    last = _at(np.concatenate([np.zeros(0), *ranked]), most)
    kept = [rank < last for rank in ranked]
    for patterns, taken in zip(listed, kept, strict=True):
        complete = min(complete, float(patterns.losses[~taken].min(initial=math.inf)))
    listed = [patterns.of(taken) for patterns, taken in zip(listed, kept, strict=True)]
    return Pool(listed, part.priced - complete if complete < allowance else least - 1)


def _at(values: Floats, rank: int) -> float:
    """The value of a rank, from the lowest; infinite beyond the last."""
    return float(np.partition(values, rank)[rank]) if rank < len(values) else math.inf


def choices_reaching(programme: Programme, part: Part, least: int) -> Choices:
    """The choices, each with the devices, that a placement of a part worth ``least`` may use; no other is in one."""
    allowance = part.priced - least + NOISE
    loss, devices = _losses(programme, programme.padded(part.duals), allowance)
    kept: Choices = dict.fromkeys((demand.name for demand in programme.problem.demands), ())
    for at, choice in enumerate(programme.choices):
        open_to = tuple(name for name in choice.devices if name in devices[at])
        if loss[at] <= allowance and len(open_to) >= choice.size:
            kept[choice.demand.name] += (replace(choice, devices=open_to),)
    return kept


def classes_reaching(programme: Programme, part: Part, least: int) -> list[GpuClass]:
    """The classes of GPUs with the seats that a placement of a part worth ``least`` may use; no other is in one."""
    allowance = part.priced - least + NOISE
    loss, devices = _losses(programme, programme.padded(part.duals), allowance)

    def left(gpus: GpuClass, group: tuple[Seat, ...]) -> tuple[Seat, ...]:
        choices = ((seat, programme.seat_choice[seat.at]) for seat in group)
        return tuple(seat for seat, at in choices if loss[at] <= allowance and gpus.devices[0] in devices[at])

    return [
        replace(
            gpus,
            groups=tuple(kept for group in gpus.groups if (kept := left(gpus, group))),
            swapped=left(gpus, gpus.swapped),
        )
        for gpus in programme.classes
    ]


def _losses(programme: Programme, duals: Floats, allowance: float) -> tuple[Floats, list[set[str]]]:
    """By choice, what an instance loses at least, and the devices on which one seat loses no more than is allowed."""
    prices = programme.seat_worth - programme.seat_rows @ duals
    least = np.full(len(programme.choices), np.inf)
    devices: list[set[str]] = [set() for _ in programme.choices]
    for gpus, swap_price in zip(programme.classes, programme.swap_rows @ duals, strict=True):
        for seat, lost in losses(gpus, prices, float(swap_price)):
            at = programme.seat_choice[seat.at]
            least[at] = min(least[at], max(0.0, -lost))
            if -lost <= allowance:
                devices[at].update(gpus.devices)
    loss = np.array([least[at] * choice.size if choice.size else 0.0 for at, choice in enumerate(programme.choices)])
    for column, terms in zip(programme.columns, programme.column_rows, strict=True):
        if column.choice is not None:
            loss[column.choice] += max(0.0, float(terms @ duals) - column.worth)
    return loss, devices
