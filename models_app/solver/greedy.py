"""Greedy placements: the common way, by priority and the first that fits, and one that gets more in first.

The first is the baseline that every plan is compared with; the better of the two is where the exact search begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from models_app.solver.choices import Choice, choices_of
from models_app.solver.goals import better, credit, values
from models_app.solver.ledger import Ledger
from models_app.solver.types import Assignment, Demand, Problem

Order = Callable[[tuple[Choice, ...]], Iterable[Choice]]


def greedy(problem: Problem) -> tuple[Assignment, ...]:
    """By priority, each demand in the first of its options that fits, resident or, if it may wait, swapped."""
    return tuple(_fill(problem, _preferred).assignments)


def frugal(problem: Problem) -> tuple[Assignment, ...]:
    """By priority, each demand in its smallest option on GPUs, then everything upgraded while there is room."""
    return upgraded(problem, tuple(_fill(problem, _smallest).assignments))


def upgraded(problem: Problem, assignments: tuple[Assignment, ...]) -> tuple[Assignment, ...]:
    """By priority, each instance in the best option that there is room for."""
    ledger = Ledger.of(problem, assignments)
    for demand in _by_priority(problem):
        for assignment in [placed for placed in assignments if placed.demand == demand.name]:
            _upgrade(problem, ledger, assignment, demand)
    return tuple(ledger.assignments)


def best_start(problem: Problem, plain: tuple[Assignment, ...]) -> tuple[Assignment, ...]:
    """The better of the plain greedy placement and the frugal one."""
    careful = frugal(problem)
    return careful if better(values(problem, careful), values(problem, plain)) else plain


def _by_priority(problem: Problem) -> list[Demand]:
    return sorted(problem.demands, key=lambda demand: (demand.pinned_devices is None, demand.priority))


def _fill(problem: Problem, order: Order) -> Ledger:
    ledger = Ledger(problem)
    for demand in _by_priority(problem):
        choices = tuple(order(choices_of(problem, demand)))
        for _ in range(demand.replicas):
            seats = (ledger.seat(choice) for choice in choices)
            found = next((seat for seat in seats if seat is not None), None)
            if found is None:
                break
            ledger.add(found)
    return ledger


def _preferred(choices: tuple[Choice, ...]) -> list[Choice]:
    """As listed, all that stays on GPUs before all that spills, swapped before resident."""
    return sorted(choices, key=lambda choice: (choice.option.spills, not choice.swapped))


def _smallest(choices: tuple[Choice, ...]) -> list[Choice]:
    return sorted(choices, key=lambda choice: (choice.option.spills, not choice.swapped, choice.option.total_bytes))


def _upgrade(problem: Problem, ledger: Ledger, assignment: Assignment, demand: Demand) -> None:
    """Takes the best option that fits in the place of the one taken first, if there is a better one."""
    ledger.remove(assignment)
    now = (credit(assignment.option), assignment.option.quality)
    better_ones = [choice for choice in choices_of(problem, demand) if (credit(choice.option), choice.option.quality) > now]
    best_first = sorted(better_ones, key=lambda choice: (credit(choice.option), choice.option.quality), reverse=True)
    seats = (ledger.seat(choice) for choice in best_first)
    ledger.add(next((seat for seat in seats if seat is not None), assignment))
