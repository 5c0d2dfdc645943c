"""What parts of all placements are told apart by: how many instances of a demand there are of some kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from models_app.solver.choices import Choice
from models_app.solver.result import Goal


class Kind(StrEnum):
    """What instances of a demand are counted by."""

    SERVED = "served"
    """All of them."""
    SPILLED = "spilled"
    """With layers left to the CPU."""
    AS_GOOD = "as good"
    """Of some quality or better."""
    SPLIT = "split"
    """Over several GPUs."""
    HERE = "here"
    """On one endpoint."""
    SPLIT_HERE = "split here"
    """Over several GPUs of one endpoint."""


CountAt = tuple[Kind, str, str]
"""A kind, a demand, and an endpoint or a quality, or ``ANYWHERE``."""
ANYWHERE = ""
Counts = Mapping[CountAt, tuple[int, int]]
"""The fewest and the most."""
EVER_SO_MANY = 1000


@dataclass(slots=True)
class Count:
    """The seats and the columns that count instances of a kind, one each."""

    seats: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)


def counts_of(
    goal: Goal, choices: Sequence[Choice], seat_choice: Sequence[int], column_choice: Sequence[int | None]
) -> dict[CountAt, Count]:
    """All counts of a programme: instances on one GPU by their seats, others by their columns."""
    counts: dict[CountAt, Count] = defaultdict(Count)
    for seat, at in enumerate(seat_choice):
        if choices[at].size == 1:
            for name in _counted_by(goal, choices[at]):
                counts[name].seats.append(seat)
    for number, column in enumerate(column_choice):
        if column is not None:
            for name in _counted_by(goal, choices[column]):
                counts[name].columns.append(number)
    return dict(counts)


def _counted_by(goal: Goal, choice: Choice) -> Iterator[CountAt]:
    demand, endpoint = choice.demand.name, choice.endpoint.id
    yield Kind.SERVED, demand, ANYWHERE
    yield Kind.HERE, demand, endpoint
    if choice.option.spills:
        yield Kind.SPILLED, demand, ANYWHERE
    if choice.size > 1:
        yield Kind.SPLIT, demand, ANYWHERE
        yield Kind.SPLIT_HERE, demand, endpoint
    if goal is Goal.QUALITY:
        better_ones = sorted({option.quality for option in choice.demand.options})[1:]
        yield from ((Kind.AS_GOOD, demand, str(level)) for level in better_ones if choice.option.quality >= level)
