"""Between assignments and the model's variables: a solution read as assignments, and assignments given as a hint."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from ortools.sat.python import cp_model

from models_app.solver.dominance import shared_variants, stand_in
from models_app.solver.model import PlacementModel, Seats
from models_app.solver.result import Goal
from models_app.solver.types import Assignment

Value = Callable[[cp_model.IntVar], int]


def read(model: PlacementModel, value: Value) -> tuple[Assignment, ...]:
    """The assignments of a solution. Sets of equal shares are formed so that what is loaded now stays."""
    return tuple(assignment for seats in model.all_seats() for assignment in _instances(model, seats, value))


def _instances(model: PlacementModel, seats: Seats, value: Value) -> list[Assignment]:
    count, choice = value(seats.count), seats.choice
    if not count:
        return []
    if choice.size == 0:
        return [_assignment(seats, ())]
    if not choice.even:
        return [_assignment(seats, devices) for devices in _uneven(seats, value, count)]
    taken = list(dict.fromkeys(name for (name, _), seat in seats.seat.items() if value(seat)))
    return [_assignment(seats, devices) for devices in _sets(model, seats, taken)]


def _assignment(seats: Seats, devices: tuple[str, ...]) -> Assignment:
    choice = seats.choice
    return Assignment(choice.demand.name, choice.option, choice.endpoint.id, devices, choice.swapped)


def _uneven(seats: Seats, value: Value, count: int) -> list[tuple[str, ...]]:
    by_rank: dict[int, list[str]] = defaultdict(list)
    for (name, rank), seat in seats.seat.items():
        if value(seat):
            by_rank[rank].append(name)
    return [tuple(by_rank[rank][at] for rank in range(seats.choice.size)) for at in range(count)]


def _sets(model: PlacementModel, seats: Seats, taken: list[str]) -> list[tuple[str, ...]]:
    """Cuts the devices taken into sets, those of loaded instances first."""
    sets: list[tuple[str, ...]] = []
    for loaded in model.problem.current:
        mine = _assignment(seats, loaded.devices) == loaded
        if mine and loaded.devices and set(loaded.devices) <= set(taken):
            sets.append(loaded.devices)
            taken = [name for name in taken if name not in loaded.devices]
    size = seats.choice.size
    return sets + [tuple(taken[at : at + size]) for at in range(0, len(taken), size)]


def hint(model: PlacementModel, assignments: tuple[Assignment, ...], goal: Goal) -> None:
    """Tells the solver where to begin: every variable of the assignments, all others 0.

    An assignment whose choice the model leaves out begins as the one that stands for it.
    """
    placed = _by_seats(model, assignments, goal)
    counts: dict[int, int] = {}
    for seats in model.all_seats():
        mine = placed.get(id(seats), [])
        for (name, rank), seat in seats.seat.items():
            if seat is not seats.count:
                counts[seat.index] = int(any(_sits(seats, devices, name, rank) for devices in mine))
        counts[seats.count.index] = len(mine)
    given = model.cp.proto.solution_hint
    given.vars.extend(counts.keys())
    given.values.extend(counts.values())


def _by_seats(model: PlacementModel, assignments: tuple[Assignment, ...], goal: Goal) -> dict[int, list[tuple[str, ...]]]:
    """By the identity of the seats, the device sets of the instances that begin there."""
    shared = shared_variants(model.problem)
    placed: dict[int, list[tuple[str, ...]]] = defaultdict(list)
    for assignment in assignments:
        listed = model.seats[assignment.demand]
        choice = stand_in(tuple(seats.choice for seats in listed), assignment, shared, goal)
        for seats in listed:
            if seats.choice is choice:
                placed[id(seats)].append(assignment.devices)
    return placed


def _sits(seats: Seats, devices: tuple[str, ...], name: str, rank: int) -> bool:
    return name in devices if seats.choice.even else devices[rank] == name
