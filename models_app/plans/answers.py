"""What a plan's row keeps of an answer: instances, steps, goals, and for what is not met why and what would."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from models_app.plans.fingerprint import fingerprint
from models_app.plans.fleet import Fleet
from models_app.plans.models import Plan
from models_app.plans.posed import Posed
from models_app.plans.records import GoalRow, Instance, PlanStep, RemedyRow, UnmetRow, rows
from models_app.solver.choices import choices_of
from models_app.solver.result import Placement, Unmet
from models_app.solver.transitions import Act, Transition
from models_app.solver.types import Assignment

MOST_NOTES = 40


@dataclass(frozen=True, slots=True)
class Solved:
    """An answer with everything that it was found from. ``target`` is the placement and what stays beside it.

    ``pulls`` are what could be installed for demands that are not met.
    """

    posed: Posed
    placement: Placement
    target: tuple[Assignment, ...]
    way: Transition
    pulls: dict[str, RemedyRow]
    enumerate_seconds: float
    solve_seconds: float


def answer_columns(solved: Solved, seconds: float) -> dict[str, Any]:
    """What the plan's row keeps of an answer."""
    posed, placement = solved.posed, solved.placement
    steps, unmet = _steps(posed, solved.way), _unmet(solved)
    return {
        "state": Plan.State.DRAFT,
        "fleet": posed.fleet.row(),
        "fingerprint": fingerprint(posed.fleet),
        "today": rows(_today(posed)),
        "instances": rows(_planned(solved)),
        "steps": rows(steps),
        "impossible": rows(posed.instance(placed) for placed in solved.way.impossible),
        "goals": rows(_goals(placement)),
        "unmet": rows(unmet),
        "swap_bytes": placement.swap_bytes,
        "notes": list(_notes(posed, placement)),
        "figures": {
            "options": sum(len(demand.options) for demand in posed.problem.demands),
            "met": len(posed.specs) + len(posed.unplaceable) - len(unmet),
            "moves": len(steps),
            "enumerate_seconds": round(solved.enumerate_seconds, 3),
            "solve_seconds": round(solved.solve_seconds, 3),
            "seconds": seconds,
        },
    }


def _today(posed: Posed) -> list[Instance]:
    """What is loaded, each under the demand that takes it as it is."""
    claimed = {(each.endpoint_id, each.model) for each in posed.loaded.values()}
    known = [posed.instance(placed) for placed in posed.problem.current]
    return known + [each for each in posed.fleet.loaded if (each.endpoint_id, each.model) not in claimed]


def _planned(solved: Solved) -> list[Instance]:
    """Where everything goes, and what servers hold of which they alone decide."""
    planned = [solved.posed.instance(placed) for placed in solved.target]
    known = {(each.endpoint_id, each.model) for each in planned}
    held = (each for each in solved.posed.fleet.loaded if each.fixed)
    return planned + [each for each in held if (each.endpoint_id, each.model) not in known]


def _steps(posed: Posed, way: Transition) -> list[PlanStep]:
    """The steps without those of servers that alone decide what they hold."""
    kept = [step for step in way.steps if not posed.instance(step.assignment).fixed]
    numbers = {step.number: number for number, step in enumerate(kept)}
    return [
        PlanStep(
            number=numbers[step.number],
            act=step.act.value,
            instance=_of_step(posed, step.act, posed.instance(step.assignment)),
            after=tuple(numbers[number] for number in step.after if number in numbers),
            detour=step.detour,
        )
        for step in kept
    ]


def _of_step(posed: Posed, act: Act, instance: Instance) -> Instance:
    """What is unloaded is as it was found."""
    if act is Act.LOAD:
        return instance
    found = (
        each for each in posed.fleet.loaded if (each.endpoint_id, each.model) == (instance.endpoint_id, instance.model)
    )
    return next(found, instance)


def _goals(placement: Placement) -> list[GoalRow]:
    baseline = placement.baseline or placement.values
    return [
        GoalRow(result.goal.value, result.value, result.bound, greedy)
        for result, greedy in zip(placement.goals, baseline, strict=True)
    ]


def _unmet(solved: Solved) -> list[UnmetRow]:
    """A pull comes first: it takes nothing from anybody."""
    lines = [
        UnmetRow(each.spec.name, each.code, 0, each.spec.replicas, each.reason, 0, 0) for each in solved.posed.unplaceable
    ]
    lines += [_unmet_row(solved.posed, each) for each in solved.placement.unmet]
    pulls = solved.pulls
    return [replace(row, remedies=(pulls[row.demand], *row.remedies)) if row.demand in pulls else row for row in lines]


def _unmet_row(posed: Posed, found: Unmet) -> UnmetRow:
    fits_nowhere = not choices_of(posed.problem, posed.problem.demand[found.demand])
    return UnmetRow(
        demand=found.demand,
        code="exceeds_all" if fits_nowhere else "no_room",
        served=found.served,
        wanted=found.wanted,
        reason=_in_words(posed.fleet, found.reason),
        needed_bytes=found.needed_bytes,
        free_bytes=found.free_bytes,
        remedies=tuple(RemedyRow(**asdict(remedy) | {"change": remedy.change.value}) for remedy in found.remedies),
    )


def _in_words(fleet: Fleet, sentence: str) -> str:
    """The sentence with GPUs named as people do."""
    for pool in fleet.pools:
        sentence = sentence.replace(pool.id, f"{pool.label} of {pool.host}")
    return sentence


def _notes(posed: Posed, placement: Placement) -> list[str]:
    notes = [*posed.fleet.left_out, *placement.warnings, *posed.left_out]
    more = len(notes) - MOST_NOTES
    return notes if more <= 0 else [*notes[:MOST_NOTES], f"{more} more notes."]
