"""The placement as an integer programme for CP-SAT: variables, what must hold, and a linear expression for each goal.

An instance of a choice takes seats, one on each device of its set. Seats of equal shares are interchangeable, so a choice
counts its instances instead of naming them; the sets are told apart only when the solution is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from ortools.sat.python import cp_model

from models_app.solver.choices import Choice
from models_app.solver.goals import PER_MILLE, credit, kept_weight, latency
from models_app.solver.result import Goal
from models_app.solver.types import Assignment, Demand, Device, DeviceSets, Problem

CUT_PARTS = tuple(range(2, 9))
Expr = cp_model.LinearExprT


@dataclass(slots=True)
class Seats:
    """The variables of a choice: how many instances, and by device and rank in the set, who sits there."""

    choice: Choice
    count: cp_model.IntVar
    seat: dict[tuple[str, int], cp_model.IntVar] = field(default_factory=dict)

    def on(self, device: str) -> list[cp_model.IntVar]:
        """The seats of a device."""
        return [seat for (name, _), seat in self.seat.items() if name == device]


class PlacementModel:
    """Variables and constraints of a problem. ``goal`` holds the expression of each goal but the last, ``balance``."""

    def __init__(self, problem: Problem, choices: dict[str, tuple[Choice, ...]]) -> None:
        self.problem = problem
        self.cp = cp_model.CpModel()
        self.seats: dict[str, list[Seats]] = {}
        self.swap: dict[str, cp_model.IntVar] = {}
        self.kept: list[tuple[cp_model.IntVar, Assignment]] = []
        self._resident: dict[str, list[tuple[int, cp_model.IntVar]]] = defaultdict(list)
        self._swapped: dict[tuple[str, str], list[tuple[int, cp_model.IntVar]]] = defaultdict(list)
        for demand in problem.demands:
            self.seats[demand.name] = [self._choice(choice) for choice in choices[demand.name]]
            self._instances(demand)
        self._memory()
        self._keep()
        self.goal = self._goals()

    def all_seats(self) -> Iterable[Seats]:
        """Every choice of every demand."""
        return (seats for listed in self.seats.values() for seats in listed)

    def _choice(self, choice: Choice) -> Seats:
        replicas = choice.demand.replicas
        most = min(replicas, len(choice.devices) // choice.size) if choice.size else 1
        seats = Seats(choice, self.cp.new_int_var(0, most if choice.endpoint.copies else min(1, most), ""))
        if choice.size == len(choice.endpoint.devices) and choice.even:
            seats.seat = {(name, rank): seats.count for rank, name in enumerate(choice.devices)}
        elif choice.size:
            self._seat(seats)
        self._charge(seats)
        return seats

    def _seat(self, seats: Seats) -> None:
        """One seat a device and instance; where shares differ, one for each rank, and every rank is taken."""
        choice = seats.choice
        shares = choice.option.device_bytes
        ranks = [0] if choice.even else range(choice.size)
        for rank in ranks:
            for name in choice.devices:
                if self.problem.device[name].usable_bytes >= shares[rank]:
                    seats.seat[name, rank] = self.cp.new_bool_var("")
            taken = [seat for (_, at), seat in seats.seat.items() if at == rank]
            each = choice.size if choice.even else 1
            self.cp.add(sum(taken) == each * seats.count)

    def _charge(self, seats: Seats) -> None:
        choice = seats.choice
        shares = choice.option.device_bytes
        charges = [(name, shares[rank], seat) for (name, rank), seat in seats.seat.items()]
        if choice.ram is not None:
            charges.append((choice.ram, choice.option.host_ram_bytes, seats.count))
        for device, size, taken in charges:
            if choice.swapped:
                self._swapped[device, choice.demand.name].append((size, taken))
            else:
                self._resident[device].append((size, taken))

    def _instances(self, demand: Demand) -> None:
        """As many as wanted at most, never two on one device, and on a host at most one without a GPU."""
        listed = self.seats[demand.name]
        self.cp.add(sum(seats.count for seats in listed) <= demand.replicas)
        if demand.replicas > 1 or any(not seats.choice.even for seats in listed):
            by_device: dict[str, list[cp_model.IntVar]] = defaultdict(list)
            for seats in listed:
                for (name, _), seat in seats.seat.items():
                    by_device[name].append(seat)
                if not seats.choice.size:
                    by_device[f"host {seats.choice.endpoint.host}"].append(seats.count)
            for taken in by_device.values():
                self.cp.add(sum(taken) <= 1)

    def _memory(self) -> None:
        for device in self.problem.devices:
            swapped = {name: terms for (at, name), terms in self._swapped.items() if at == device.id}
            if swapped:
                self.swap[device.id] = self.cp.new_int_var(0, device.usable_bytes, "")
                for terms in swapped.values():
                    self.cp.add(weighted(terms) <= self.swap[device.id])
            self.cp.add(self.used(device.id) <= device.usable_bytes)
            for parts in CUT_PARTS:
                self._cut(device, parts)

    def _cut(self, device: Device, parts: int) -> None:
        """Says again in small numbers what follows from the bytes: two models of more than half do not fit, and so on.

        A share of more than j / ``parts`` of a device counts j, and the sum stays below ``parts``. It is redundant, but
        rules out the fractional packings that make a proof slow (a dual feasible function of Fekete and Schepers, 2001).
        """
        room = max(1, device.usable_bytes)
        least = room // parts
        counted = [((parts * size - 1) // room, seat) for size, seat in self._resident[device.id] if size > least]
        if counted:
            self.cp.add(weighted(counted) <= parts - 1)

    def used(self, device: str) -> Expr:
        """What a device gives to resident instances and its swap space."""
        terms = [*self._resident[device], *([(1, self.swap[device])] if device in self.swap else [])]
        return weighted(terms)

    def _keep(self) -> None:
        """A variable for each loaded model that the placement could leave as it is."""
        for loaded in self.problem.current:
            for seats in self.seats.get(loaded.demand, []):
                if _stands(seats, loaded):
                    kept = self.cp.new_bool_var("")
                    needed = [seats.count] if not loaded.devices else _needed(seats, loaded)
                    for seat in needed:
                        self.cp.add_implication(kept, seat) if seat is not seats.count else self.cp.add(seat >= kept)
                    self.kept.append((kept, loaded))
                    break

    def _goals(self) -> dict[Goal, Expr]:
        terms: dict[Goal, list[tuple[int, cp_model.IntVar]]] = defaultdict(list)
        for seats in self.all_seats():
            demand, option = seats.choice.demand, seats.choice.option
            terms[Goal.RESIDENCY].append((demand.weight * credit(option), seats.count))
            if demand.pinned_devices is not None:
                terms[Goal.PINS].append((demand.weight * credit(option), seats.count))
            terms[Goal.QUALITY].append((demand.weight * option.quality, seats.count))
            terms[Goal.LATENCY].append((demand.weight * latency(option, seats.choice.swapped), seats.count))
        goals = {goal: weighted(terms[goal]) for goal in (Goal.PINS, Goal.RESIDENCY, Goal.QUALITY, Goal.LATENCY)}
        lost = sum(kept_weight(self.problem, loaded) for loaded in self.problem.current)
        goals[Goal.DISRUPTION] = lost - weighted([(kept_weight(self.problem, at), kept) for kept, at in self.kept])
        return goals

    def balance(self) -> cp_model.IntVar:
        """The largest share in use of any GPU; asked for once, for its constraints are long and slow the other goals."""
        fullest = self.cp.new_int_var(0, PER_MILLE, "")
        for device in self.problem.devices:
            if device.is_gpu and device.usable_bytes:
                self.cp.add(PER_MILLE * self.used(device.id) <= device.usable_bytes * fullest)
        return fullest


def weighted(terms: Iterable[tuple[int, cp_model.IntVar]]) -> Expr:
    """The sum of coefficient × variable."""
    listed = [(size, variable) for size, variable in terms if size]
    return cp_model.LinearExpr.weighted_sum([variable for _, variable in listed], [size for size, _ in listed])


def _stands(seats: Seats, loaded: Assignment) -> bool:
    choice = seats.choice
    same = choice.option == loaded.option and choice.endpoint.id == loaded.endpoint and choice.swapped == loaded.swapped
    return same and set(loaded.devices) <= set(choice.devices)


def _needed(seats: Seats, loaded: Assignment) -> list[cp_model.IntVar]:
    if seats.choice.endpoint.sets is DeviceSets.WHOLE or seats.choice.size == len(seats.choice.endpoint.devices):
        return [seats.count]
    ranks = [0] * len(loaded.devices) if seats.choice.even else range(len(loaded.devices))
    return [seats.seat[name, rank] for name, rank in zip(loaded.devices, ranks, strict=True)]
