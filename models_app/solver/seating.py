"""Where a placement sits in a programme: how many instances of each choice it has, and the seats of each GPU."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from models_app.solver.dominance import Choices, shared_variants, stand_in
from models_app.solver.patterns import Seat
from models_app.solver.programme import Programme
from models_app.solver.types import Assignment


@dataclass(frozen=True, slots=True)
class Seating:
    """``instances`` by the place of their choice, and by class of GPUs the seats of each GPU that has any."""

    instances: Counter[int]
    gpus: list[list[tuple[Seat, ...]]]


def seated(programme: Programme, assignments: tuple[Assignment, ...]) -> Seating:
    """The seating of a placement. An assignment whose choice was left out sits as the one that stands for it."""
    placed = _placed(programme, assignments)
    gpus = []
    for members in programme.classes:
        seats = {
            (programme.seat_choice[seat.at], programme.seat_rank[seat.at]): seat
            for group in (*members.groups, members.swapped)
            for seat in group
        }
        here = [
            tuple(
                seat
                for it, at in placed
                if device in it.devices and (seat := seats.get((at, _rank(it, device, programme.choices[at].even))))
            )
            for device in members.devices
        ]
        gpus.append([held for held in here if held])
    return Seating(Counter(at for _, at in placed), gpus)


def _placed(programme: Programme, assignments: tuple[Assignment, ...]) -> list[tuple[Assignment, int]]:
    """Each assignment with the place of its choice."""
    shared = shared_variants(programme.problem)
    by_demand: Choices = {demand.name: () for demand in programme.problem.demands}
    for choice in programme.choices:
        by_demand[choice.demand.name] += (choice,)
    place = {id(choice): at for at, choice in enumerate(programme.choices)}
    found = ((it, stand_in(by_demand[it.demand], it, shared, programme.goal)) for it in assignments)
    return [(it, place[id(choice)]) for it, choice in found if choice is not None]


def _rank(assignment: Assignment, device: str, even: bool) -> int:
    return 0 if even else assignment.devices.index(device)
