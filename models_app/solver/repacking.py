"""A placement made better by repacking a few GPUs at a time (large neighbourhood search; Shaw, 1998).

What sits on them is taken away, and they are filled again as well as can be with that and with what has no place yet; the
rest stays where it is. So small a problem is solved within milliseconds. The number of GPUs follows how easy that was.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from ortools.sat.python import cp_model

from models_app.solver.choices import Choice
from models_app.solver.dominance import Choices
from models_app.solver.goals import better, values
from models_app.solver.greedy import upgraded
from models_app.solver.ledger import Ledger
from models_app.solver.model import PlacementModel, weighted
from models_app.solver.model_rules import add_rules
from models_app.solver.reading import hint, read
from models_app.solver.result import Goal
from models_app.solver.standing import SEED, SOLVED, Standing, building_seconds, sprinter
from models_app.solver.types import Assignment, Demand, Device, Endpoint, Problem

FIRST_SIZE = 2.0
"""GPUs that are repacked together at first."""
EASIER, HARDER = 0.1, 0.3
"""How many more after a repacking that was finished, and how many fewer after one that was not."""
SECONDS_OF_A_REPACKING = 0.006
NEIGHBOURLY = 0.5
"""How often the next GPU is looked for on the same host, where a model can be split."""
LEAST_WASTE = 0.05
"""What a full GPU counts for when one is chosen by its free share."""
NOISE = 8
"""Placements of the same worth differ by less than a worth of one, at random: so none is returned to for ever."""
SCALE = 1000


@dataclass(frozen=True, slots=True)
class Opening:
    """What stays, and the problem that is left: its demands, its choices and what they held before."""

    staying: tuple[Assignment, ...]
    problem: Problem
    choices: Choices
    before: tuple[Assignment, ...]


class Repacking:
    """A goal's placement, repacked until it reaches the bound. Earlier goals stay at least as good."""

    def __init__(self, known: Standing, at: int, goal: Goal) -> None:
        self.known, self._at, self._goal = known, at, goal
        self._choices = known.left(goal)
        self._assignments, self._values = known.assignments, known.values
        self._gpus = [device.id for device in known.problem.devices if device.is_gpu and device.usable_bytes]
        self._size = FIRST_SIZE
        self._random = random.Random(SEED)  # noqa: S311 - the same search each time, no secret
        self._stopped = False

    def run(self, until: float) -> None:
        """Until the goal is settled or only so much work is left."""
        if better(self.known.values, self._values):
            self._assignments, self._values = self.known.assignments, self.known.values
        while self._gpus and not self._stopped and self.known.goes_on(self._at, until):
            opening = opened(self.known.problem, self._choices, self._assignments, self._some_gpus())
            self._take(self._repacked(opening))

    def stop(self) -> None:
        """Ends it from another core."""
        self._stopped = True

    def _take(self, found: tuple[Assignment, ...]) -> None:
        """Goes on from what is as good, and keeps what is better."""
        known, end = self.known, self._at + 1
        scored = values(known.problem, found)
        if scored[:end] >= self._values[:end]:
            if scored[:end] > known.values[:end]:
                known.take(upgraded(known.problem, found))
            self._assignments, self._values = found, scored

    def _some_gpus(self) -> set[str]:
        """One with room to spare, and others of its host or anywhere."""
        device, ledger = self.known.problem.device, Ledger.of(self.known.problem, self._assignments)
        waste = {name: LEAST_WASTE + ledger.free(name) / device[name].usable_bytes for name in self._gpus}
        chosen: list[str] = []
        while len(chosen) < min(round(self._size), len(self._gpus)):
            others = [name for name in self._gpus if name not in chosen]
            if chosen and self._random.random() < NEIGHBOURLY:
                others = [name for name in others if device[name].host == device[chosen[0]].host] or others
            chosen += self._random.choices(others, [waste[name] for name in others])
        return set(chosen)

    def _repacked(self, opening: Opening) -> tuple[Assignment, ...]:
        """The best that was found for an opening, beside what stays."""
        model = PlacementModel(opening.problem, opening.choices)
        add_rules(model)
        for earlier, value in zip(list(Goal)[: self._at], values(opening.problem, opening.before), strict=False):
            model.cp.add(model.goal[earlier] >= value)
        noise = weighted((self._random.randrange(NOISE), seats.count) for seats in model.all_seats())
        model.cp.maximize(cp_model.LinearExpr.sum([SCALE * model.goal[self._goal], noise]))
        hint(model, opening.before, self._goal)
        solver = sprinter()
        self.known.spend(building_seconds(opening.choices))
        status = self.known.solve(model.cp, SECONDS_OF_A_REPACKING, solver)
        self._size = max(FIRST_SIZE, self._size + (EASIER if status == cp_model.OPTIMAL else -HARDER))
        ledger = Ledger.of(self.known.problem, opening.staying)
        for assignment in read(model, solver.value) if status in SOLVED else ():
            if ledger.fits(assignment):
                ledger.add(assignment)
        return tuple(ledger.assignments)


def opened(problem: Problem, choices: Choices, assignments: tuple[Assignment, ...], gpus: set[str]) -> Opening:
    """What is left to decide once some GPUs are cleared. Where rules reach beyond it, the ledger has the last word."""
    before = tuple(it for it in assignments if not gpus.isdisjoint(it.devices))
    staying = tuple(it for it in assignments if gpus.isdisjoint(it.devices))
    room = gpus.union(*(it.devices for it in before))
    left = {demand.name: _left(demand, choices[demand.name], staying, room) for demand in problem.demands}
    left = {name: listed for name, listed in left.items() if listed}
    ledger = Ledger.of(problem, staying)
    return Opening(
        staying,
        Problem(
            tuple(_free(device, ledger) for device in problem.devices if device.id in room or not device.is_gpu),
            tuple(_beside(endpoint, staying) for endpoint in problem.endpoints),
            tuple(listed[0].demand for listed in left.values()),
            tuple(replace(rule, demands=rule.demands & left.keys()) for rule in problem.rules),
        ),
        left,
        tuple(it for it in before if it.demand in left),
    )


def _left(
    demand: Demand, choices: tuple[Choice, ...], staying: tuple[Assignment, ...], room: set[str]
) -> tuple[Choice, ...]:
    """The choices for the instances that do not stay, on the GPUs that have room and hold none of the others."""
    others = [it for it in staying if it.demand == demand.name]
    if len(others) == demand.replicas:
        return ()
    fewer = replace(demand, replicas=demand.replicas - len(others))
    free = room.difference(*(it.devices for it in others))
    narrowed = (replace(it, demand=fewer, devices=tuple(name for name in it.devices if name in free)) for it in choices)
    held = {(it.endpoint, it.option.variant) for it in others}
    return tuple(
        choice
        for choice in narrowed
        if len(choice.devices) >= choice.size
        and (choice.endpoint.copies or (choice.endpoint.id, choice.option.variant) not in held)
    )


def _free(device: Device, ledger: Ledger) -> Device:
    """A device of which what stays is used by others."""
    return replace(device, used_by_others_bytes=device.capacity_bytes - device.headroom_bytes - ledger.free(device.id))


def _beside(endpoint: Endpoint, staying: tuple[Assignment, ...]) -> Endpoint:
    """An endpoint with room for so many models beside those that stay. Their swap space counts as one."""
    if endpoint.max_models is None:
        return endpoint
    here = [it.swapped for it in staying if it.endpoint == endpoint.id]
    return replace(endpoint, max_models=max(0, endpoint.max_models - here.count(False) - any(here)))
