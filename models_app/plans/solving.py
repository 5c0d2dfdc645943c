"""Solves a plan: enumerate, place, find the way there, and write down the answer with its reasons."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.utils import timezone

from models_app.inventory.models import Endpoint
from models_app.live import Topic, publish
from models_app.operations.subject import installed_facts
from models_app.plans.changes import read_changes
from models_app.plans.demand import DemandSpec, read_demand
from models_app.plans.fingerprint import fingerprint
from models_app.plans.fleet import Fleet
from models_app.plans.loading import LoadTimes
from models_app.plans.models import Plan
from models_app.plans.naming import Library
from models_app.plans.options import Enumerator
from models_app.plans.problem import Posed, is_unclaimed, pose
from models_app.plans.records import GoalRow, Instance, PlanStep, RemedyRow, UnmetRow, rows
from models_app.plans.snapshot import take_snapshot
from models_app.solver.choices import choices_of
from models_app.solver.goals import same_load
from models_app.solver.ledger import Ledger
from models_app.solver.placement import place
from models_app.solver.result import Placement, Unmet
from models_app.solver.transitions import Act, Transition, transition
from models_app.solver.types import Assignment, Problem
from models_app.solver.validate import InvalidProblem

log = logging.getLogger(__name__)
DEFAULT_SECONDS, MOST_SECONDS = 1.0, 30.0
WALL_FACTOR = 3.0
"""How much longer than its own work a solve may take by the clock, where other work takes the processor away."""
MOST_NOTES = 40


@dataclass(frozen=True, slots=True)
class Solved:
    """An answer with everything that it was found from. ``target`` is the placement and what stays beside it."""

    posed: Posed
    placement: Placement
    target: tuple[Assignment, ...]
    way: Transition
    enumerate_seconds: float
    solve_seconds: float


def solve_plan(plan_id: int) -> None:
    """Solve a plan that waits for it. A plan that somebody else has solved meanwhile is left as it is."""
    plan = Plan.objects.filter(pk=plan_id, state=Plan.State.SOLVING).first()
    if plan is None:
        return
    try:
        specs = [read_demand(document) for document in plan.demands]
        fleet = take_snapshot(read_changes(plan.changes))
        columns = answer_columns(solve(fleet, specs, plan.seconds), plan.seconds)
    except InvalidProblem as error:
        columns = {"state": Plan.State.FAILED, "error_code": "invalid_problem", "error_message": str(error)}
    except Exception:
        log.exception("plan %d was not solved", plan_id)
        message = "Something went wrong inside the panel; its log says what."
        columns = {"state": Plan.State.FAILED, "error_code": "internal_error", "error_message": message}
    if Plan.objects.filter(pk=plan_id, state=Plan.State.SOLVING).update(**columns, solved_at=timezone.now()):
        publish(Topic.PLAN, plan_id)


def solve(fleet: Fleet, specs: Sequence[DemandSpec], seconds: float = DEFAULT_SECONDS) -> Solved:
    """The best placement found within about ``seconds`` of work. Raises ``InvalidProblem``."""
    began = time.monotonic()
    endpoints = Endpoint.objects.filter(pk__in=fleet.server).select_related("host")
    enumerator = Enumerator(fleet, Library(installed_facts(endpoints)), LoadTimes())
    posed = pose(fleet, specs, {spec.name: enumerator.enumerate(spec) for spec in specs})
    enumerated = time.monotonic()
    placement = place(posed.problem, seconds, wall_seconds=WALL_FACTOR * seconds)
    target, way = _way_there(posed.problem, placement.assignments)
    return Solved(posed, placement, target, way, enumerated - began, time.monotonic() - enumerated)


def _way_there(problem: Problem, placed: tuple[Assignment, ...]) -> tuple[tuple[Assignment, ...], Transition]:
    """What is loaded and nobody demands stays where there is room for it, unless it stands in the way."""
    target = (*placed, *_staying(problem, placed))
    way = transition(problem, target)
    return (placed, transition(problem, placed)) if way.impossible or way.detours else (target, way)


def _staying(problem: Problem, placed: tuple[Assignment, ...]) -> list[Assignment]:
    """What fits beside the placement, and what lies where the placement changes nothing."""
    ledger = Ledger.of(problem, placed)
    coming = (each for each in placed if not any(same_load(each, loaded) for loaded in problem.current))
    touched = {pool for each in coming for pool in problem.taken(each)}
    staying = []
    for loaded in problem.current:
        if is_unclaimed(loaded) and (ledger.fits(loaded) or touched.isdisjoint(problem.taken(loaded))):
            ledger.add(loaded)
            staying.append(loaded)
    return staying


def answer_columns(solved: Solved, seconds: float) -> dict[str, Any]:
    """What the plan's row keeps of an answer."""
    posed, placement = solved.posed, solved.placement
    steps, unmet = _steps(posed, solved.way), _unmet(posed, placement)
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


def _unmet(posed: Posed, placement: Placement) -> list[UnmetRow]:
    missing = [UnmetRow(each.spec.name, each.code, 0, each.spec.replicas, each.reason, 0, 0) for each in posed.unplaceable]
    return [*missing, *(_unmet_row(posed.problem, each, posed) for each in placement.unmet)]


def _unmet_row(problem: Problem, found: Unmet, posed: Posed) -> UnmetRow:
    fits_nowhere = not choices_of(problem, problem.demand[found.demand])
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
