"""From a solution of the packing programme to assignments: patterns are dealt to GPUs, seats to patterns that have them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import islice

from ortools.sat.python import cp_model

from models_app.solver.choices import Choice
from models_app.solver.ledger import Ledger
from models_app.solver.packing import Packed, PackingModel
from models_app.solver.types import Assignment

Value = Callable[[cp_model.IntVar], int]


def unpacked(model: PackingModel, value: Value) -> tuple[Assignment, ...]:
    """The instances of a solution, each held against every byte and every rule; what does not hold is left out."""
    ledger = Ledger(model.programme.problem)
    for assignment in _instances(model, value):
        if ledger.fits(assignment):
            ledger.add(assignment)
    return tuple(ledger.assignments)


def _instances(model: PackingModel, value: Value) -> Iterator[Assignment]:
    programme = model.programme
    columns = zip(programme.columns, model.columns, strict=True)
    counted = {column.choice: value(variable) for column, variable in columns if column.choice is not None}
    by_rank: dict[int, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for packed in model.packed:
        for at, devices in _seated(packed, value, programme.apart):
            by_rank[programme.seat_choice[at]][programme.seat_rank[at]] += devices
    for at, ranks in by_rank.items():
        choice = programme.choices[at]
        yield from (_assignment(choice, devices) for devices in islice(_sets(choice, ranks), counted.get(at)))
    for at, count in counted.items():
        if not programme.choices[at].size:
            yield from [_assignment(programme.choices[at], ())] * count


def _seated(packed: Packed, value: Value, apart: Callable[[str], str]) -> Iterator[tuple[int, list[str]]]:
    """By seat, the GPUs whose patterns have it, each once at most for demands that are apart. What swaps comes last."""
    rows = [row for row, taken in enumerate(packed.taken) for _ in range(value(taken))]
    dealt = list(zip(packed.gpus.devices, rows, strict=False))
    taken: set[tuple[str, str]] = set()
    seats = [seat for group in packed.gpus.groups for seat in group] + list(reversed(packed.gpus.swapped))
    resident = len(seats) - len(packed.gpus.swapped)
    for number, seat in enumerate(seats):
        if seat.at not in packed.sitting:
            continue
        patterns = packed.patterns
        holding = [
            device
            for device, row in dealt
            if (apart(seat.demand), device) not in taken
            and (seat.at in patterns.seats[row] if number < resident else patterns.swap_bytes[row] >= seat.bytes)
        ]
        chosen = holding[: value(packed.sitting[seat.at])]
        taken.update((apart(seat.demand), device) for device in chosen)
        yield seat.at, chosen


def _sets(choice: Choice, ranks: dict[int, list[str]]) -> Iterator[tuple[str, ...]]:
    """The GPUs of each instance, in the order of its shares."""
    if choice.even:
        devices = ranks[0]
        yield from (tuple(devices[at : at + choice.size]) for at in range(0, len(devices) - choice.size + 1, choice.size))
    else:
        yield from zip(*(ranks[rank] for rank in range(choice.size)), strict=False)


def _assignment(choice: Choice, devices: tuple[str, ...]) -> Assignment:
    return Assignment(choice.demand.name, choice.option, choice.endpoint.id, devices, choice.swapped)
