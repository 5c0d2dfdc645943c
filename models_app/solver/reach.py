"""What a placement of some worth may use: the patterns, and the choices with their devices, that lose little enough.

The prices of a part bound what its placements are worth, and tell how much is lost by a pattern that is not the dearest, or
by taking a seat. What loses more than lies between the bound and the worth that is looked for is in no such placement.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models_app.solver.dominance import Choices
from models_app.solver.enumeration import Patterns, patterns_within
from models_app.solver.parts import Part
from models_app.solver.patterns import Floats, dearest, losses
from models_app.solver.programme import Programme
from models_app.solver.relaxation import NOISE


def patterns_reaching(programme: Programme, part: Part, least: int, most: int) -> list[Patterns] | None:
    """By class, what a placement of a part worth ``least`` may use; ``None`` if that is more than ``most``."""
    found, duals = list[Patterns](), programme.padded(part.duals)
    prices = programme.seat_worth - programme.seat_rows @ duals
    for gpus, swap_price in zip(programme.classes, programme.swap_rows @ duals, strict=True):
        best = dearest(gpus, prices, float(swap_price)).value
        listed = patterns_within(gpus, prices, float(swap_price), best, part.priced - least + NOISE, most)
        if listed is None:
            return None
        found.append(listed)
    return found


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
