"""The constraints of a placement that are not memory: what endpoints can hold, and who stays together or apart."""

from __future__ import annotations

from collections import defaultdict

from ortools.sat.python import cp_model

from models_app.solver.model import PlacementModel, Seats
from models_app.solver.types import Endpoint, Rule, Scope


def add_rules(model: PlacementModel) -> None:
    """Adds the limits of every endpoint and every rule."""
    for endpoint in model.problem.endpoints:
        _endpoint(model, endpoint)
    for rule in model.problem.rules:
        _rule(model, rule)


def _endpoint(model: PlacementModel, endpoint: Endpoint) -> None:
    here = [seats for seats in model.all_seats() if seats.choice.endpoint.id == endpoint.id]
    if not endpoint.copies:
        by_variant: dict[str, list[cp_model.IntVar]] = defaultdict(list)
        for seats in here:
            by_variant[seats.choice.option.variant].append(seats.count)
        for counts in by_variant.values():
            model.cp.add(sum(counts) <= 1)
    if endpoint.max_models is not None:
        resident = [seats.count for seats in here if not seats.choice.swapped]
        swapping = _any_of(model, [seats for seats in here if seats.choice.swapped])
        model.cp.add(sum(resident) + swapping <= endpoint.max_models)


def _any_of(model: PlacementModel, listed: list[Seats]) -> cp_model.IntVar:
    """True as soon as one of the choices is taken."""
    taken = model.cp.new_bool_var("")
    for seats in listed:
        model.cp.add(seats.count <= seats.choice.demand.replicas * taken)
    return taken


def _rule(model: PlacementModel, rule: Rule) -> None:
    if not rule.apart:
        _together(model, rule)
        return
    by_place: dict[str, list[cp_model.IntVar]] = defaultdict(list)
    for name in sorted(rule.demands):
        for place, seats in _places(model, rule, name).items():
            taken = model.cp.new_bool_var("")
            most = model.problem.demand[name].replicas
            for variable in seats:
                model.cp.add(variable <= most * taken)
            by_place[place].append(taken)
    for members in by_place.values():
        model.cp.add_at_most_one(members)


def _together(model: PlacementModel, rule: Rule) -> None:
    """One place for all. On one device there is no room for an instance that spans several, or none."""
    chosen: dict[str, cp_model.IntVar] = {}
    for name in sorted(rule.demands):
        for place, seats in _places(model, rule, name).items():
            place_taken = chosen.setdefault(place, model.cp.new_bool_var(""))
            for variable in seats:
                model.cp.add(variable <= model.problem.demand[name].replicas * place_taken)
        if rule.scope is Scope.DEVICE:
            for spanning in model.seats[name]:
                if spanning.choice.size != 1:
                    model.cp.add(spanning.count == 0)
    model.cp.add_at_most_one(list(chosen.values()))


def _places(model: PlacementModel, rule: Rule, name: str) -> dict[str, list[cp_model.IntVar]]:
    """By host or device, the variables that are above 0 where an instance of the demand is there."""
    found: dict[str, list[cp_model.IntVar]] = defaultdict(list)
    for seats in model.seats[name]:
        if rule.scope is Scope.HOST:
            found[seats.choice.endpoint.host].append(seats.count)
            continue
        for (device, _), seat in seats.seat.items():
            found[device].append(seat)
    return found
