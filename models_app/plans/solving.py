"""Solves a plan: enumerate, place, find the way there, and write down the answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from django.utils import timezone

from models_app.inventory.models import Endpoint
from models_app.live import Topic, publish
from models_app.operations.facts import installed_facts
from models_app.plans.answers import Solved, answer_columns
from models_app.plans.changes import read_changes
from models_app.plans.demand import DemandSpec, read_demand
from models_app.plans.fleet import Fleet
from models_app.plans.loading import LoadTimes
from models_app.plans.models import Plan
from models_app.plans.naming import Library
from models_app.plans.options import Enumerator
from models_app.plans.posed import is_unclaimed
from models_app.plans.problem import pose
from models_app.plans.pulling import pulls
from models_app.plans.snapshot import take_snapshot
from models_app.solver.goals import same_load
from models_app.solver.ledger import Ledger
from models_app.solver.placement import place
from models_app.solver.transitions import Transition, transition
from models_app.solver.types import Assignment, Problem
from models_app.solver.validate import InvalidProblem

log = logging.getLogger(__name__)
DEFAULT_SECONDS, MOST_SECONDS = 1.0, 30.0
WALL_FACTOR = 3.0
"""How much longer than its own work a solve may take by the clock, where other work takes the processor away."""


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
    endpoints = list(Endpoint.objects.filter(pk__in=fleet.server).select_related("host"))
    enumerator = Enumerator(fleet, Library(installed_facts(endpoints)), LoadTimes())
    posed = pose(fleet, specs, {spec.name: enumerator.enumerate(spec) for spec in specs})
    enumerated = time.monotonic()
    placement = place(posed.problem, seconds, wall_seconds=WALL_FACTOR * seconds)
    target, way = _way_there(posed.problem, placement.assignments)
    found = pulls(posed, placement.assignments, endpoints)
    return Solved(posed, placement, target, way, found, enumerated - began, time.monotonic() - enumerated)


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
