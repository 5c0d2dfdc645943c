"""The linear programme of a goal over patterns of GPUs: what a seat, an instance and a rule count in which constraint.

Every constraint is Σ terms ≤ limit. The seat of a choice for one GPU stands for the instance itself; seats of a set of
GPUs are tied to a column for its instances. It is a relaxation: an instance may be a fraction, demands that belong together
share a host at most, host RAM of swapped models is counted where it is much, and a swap space counts as a model by the
share of GPUs that have one. Over 200 lines, for rows, seats and columns are one matrix.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from models_app.solver.choices import Choice
from models_app.solver.counts import EVER_SO_MANY, CountAt, Counts, counts_of
from models_app.solver.dominance import Choices, shared_variants
from models_app.solver.goals import worth
from models_app.solver.patterns import UNITS, Floats, GpuClass, Seat
from models_app.solver.result import Goal
from models_app.solver.rows import Rows
from models_app.solver.types import Device, Endpoint, Problem, Rule, Scope

MOST_MODELS_COUNTED = 6
"""Of a GPU: the table of its patterns has a layer for each."""
Terms = dict[Hashable, float]
LARGE_IN_RAM = 0.2
"""Of a pool: what swaps and takes less of it is not counted there."""


@dataclass(slots=True)
class Column:
    """A variable of the programme, at most ``most``; ``choice`` is the place of the one whose instances it counts."""

    worth: float
    terms: Terms
    most: float
    choice: int | None = None


class Programme:
    """Constraints, seats by class of GPUs, and the columns that are no pattern. ``floors`` are values of earlier goals."""

    def __init__(self, problem: Problem, choices: Choices, goal: Goal, floors: Mapping[Goal, int]) -> None:
        self.problem = problem
        self.choices = [choice for listed in choices.values() for choice in listed]
        self.columns: list[Column] = []
        self.seat_choice: list[int] = []
        self.seat_rank: list[int] = []
        self._counted: dict[CountAt, tuple[int, int]] = {}
        self.goal = goal
        self._limits: dict[Hashable, float] = {("floor", earlier): -value for earlier, value in floors.items()}
        self._seats: list[tuple[float, Terms]] = []
        self._apart = {
            name: str(sorted(rule.demands)) for rule in problem.rules if _on_devices(rule) for name in rule.demands
        }
        self._waiting = {self.apart(demand.name) for demand in problem.demands if not demand.always_on}
        self._shared = shared_variants(problem)
        self._large_in_ram = self._swapped_in_ram()
        self._instances = [self._instance(choice, floors) for choice in self.choices]
        for rule in problem.rules:
            self._rule(rule)
        self._of_sets = {
            at: Column(worth(goal, choice), self._instances[at], choice.demand.replicas, at)
            for at, choice in enumerate(self.choices)
            if choice.size != 1
        }
        self.classes = list(self._classes())
        self.columns += self._of_sets.values()
        self.counts = counts_of(goal, self.choices, self.seat_choice, [column.choice for column in self.columns])
        self._place = {name: at for at, name in enumerate(self._limits)}
        self.limits = np.array(list(self._limits.values()), float)
        self.seat_worth = np.array([value for value, _ in self._seats], float)
        self.seat_rows = self._rows([terms for _, terms in self._seats])
        self.column_rows = self._rows([column.terms for column in self.columns])
        self.swap_rows = self._rows([self._swap_terms(gpus) for gpus in self.classes])

    def models_row(self, seat: Seat) -> int | None:
        """The place of the constraint on how many models the endpoint of a seat may hold, if it has one."""
        name = ("models", self._choice(seat).endpoint.id)
        return self._place.get(name)

    def counted(self, at: CountAt) -> tuple[int, int]:
        """The places of two rows, added when first asked for: the instances are not below a number, not above another."""
        if at not in self._counted:
            seats, columns = np.zeros(len(self.seat_rows)), np.zeros(len(self.columns))
            seats[self.counts[at].seats] = columns[self.counts[at].columns] = 1.0
            self._counted[at] = len(self.limits), len(self.limits) + 1
            self.limits = np.append(self.limits, [0.0, EVER_SO_MANY])
            self.seat_rows = self.seat_rows.beside(np.column_stack((-seats, seats)))
            self.column_rows = self.column_rows.beside(np.column_stack((-columns, columns)))
            self.swap_rows = self.swap_rows.beside(np.zeros((len(self.classes), 2)))
        return self._counted[at]

    @property
    def counted_already(self) -> list[int]:
        """The rows by which instances are not below a number."""
        return [fewest for fewest, _ in self._counted.values()]

    def swaps(self, seats: Iterable[Seat]) -> bool:
        """Whether there is a swap space among them."""
        return any(self._choice(seat).swapped for seat in seats)

    def apart(self, demand: str) -> str:
        """A name that all demands have in common of which a GPU takes only one: those that are kept apart, or one alone."""
        return self._apart.get(demand, demand)

    def counting(self) -> tuple[Rows, Rows]:
        """A row for each count: of the seats, and of the columns."""
        seats, columns = (np.zeros((len(self.counts), len(listed))) for listed in (self.seat_choice, self.columns))
        for row, count in enumerate(self.counts.values()):
            seats[row, count.seats] = columns[row, count.columns] = 1.0
        return Rows(seats), Rows(columns)

    def limits_of(self, counts: Counts) -> Floats:
        """The limits of all rows where instances have such counts."""
        limits = self.limits.copy()
        for at, (fewest, most) in counts.items():
            limits[list(self.counted(at))] = -fewest, most
        return limits

    def padded(self, duals: Floats) -> Floats:
        """Prices from before some rows were added: these cost nothing."""
        return np.append(duals, np.zeros(len(self.limits) - len(duals)))

    def _row(self, name: Hashable, limit: float) -> Hashable:
        self._limits[name] = limit
        return name

    def _instance(self, choice: Choice, floors: Mapping[Goal, int]) -> Terms:
        """What an instance counts where."""
        demand, endpoint = choice.demand, choice.endpoint
        terms: Terms = {self._row(("demand", demand.name), demand.replicas): 1.0}
        if choice.ram is not None and not choice.swapped:
            terms[self._row(("ram", choice.ram), 1.0)] = self._share_of_ram(choice)
        for name in self._large_in_ram.get(choice.ram, ()):
            if not choice.swapped or name == demand.name:
                terms[self._row(("ram", choice.ram, name), 1.0)] = self._share_of_ram(choice)
        if not endpoint.copies and (demand.replicas > 1 or choice.option.variant in self._shared):
            terms[self._row(("once", endpoint.id, choice.option.variant), 1.0)] = 1.0
        if endpoint.max_models is not None and not choice.swapped:
            terms[self._row(("models", endpoint.id), endpoint.max_models)] = 1.0
        return terms | {("floor", goal): -float(worth(goal, choice)) for goal in floors}

    def _share_of_ram(self, choice: Choice) -> float:
        """Of the host RAM, or of the one pool of unified memory."""
        room = max(1, self.problem.device[choice.ram or ""].usable_bytes)
        unified = sum(choice.option.device_bytes) if choice.devices == (choice.ram,) else 0
        return (choice.option.host_ram_bytes + unified) / room

    def _swapped_in_ram(self) -> dict[str | None, set[str]]:
        """By pool, the demands that take much of it where they swap: each has to fit beside what stays."""
        found: dict[str | None, set[str]] = defaultdict(set)
        for choice in self.choices:
            single = choice.swapped and choice.ram is not None and choice.demand.replicas == 1
            if single and self._share_of_ram(choice) > LARGE_IN_RAM:
                found[choice.ram].add(choice.demand.name)
        return found

    def _rule(self, rule: Rule) -> None:
        """Together: one host for all. Apart on hosts: the shares of their instances on a host are one at most."""
        if rule.apart and rule.scope is Scope.DEVICE:
            return
        hosts: dict[str, Terms] = {}
        for terms, choice in zip(self._instances, self.choices, strict=True):
            demand, host = choice.demand, choice.endpoint.host
            if demand.name in rule.demands and rule.apart:
                terms[self._row((rule, host), 1.0)] = 1 / demand.replicas
            elif demand.name in rule.demands:
                row = self._row((rule, host, demand.name), 0.0)
                terms[row] = 1.0
                hosts.setdefault(host, {self._row(rule, 1.0): 1.0})[row] = -float(demand.replicas)
        self.columns += [Column(0.0, terms, 1.0) for terms in hosts.values()]

    def _classes(self) -> Iterator[GpuClass]:
        """GPUs that are as large and open to the same seats are one class."""
        alike: dict[tuple[int, tuple[tuple[int, int], ...]], list[str]] = defaultdict(list)
        for device in self.problem.devices:
            if device.is_gpu and (open_to := tuple(self._open_to(device))):
                alike[device.usable_bytes, open_to].append(device.id)
        for number, ((room, open_to), devices) in enumerate(alike.items()):
            seats = [self._seat(at, rank, room, number, len(devices)) for at, rank in open_to]
            yield self._class(tuple(devices), seats, room)

    def _open_to(self, device: Device) -> Iterator[tuple[int, int]]:
        """The choices, and ranks of their shares, that may have a seat there."""
        for at, choice in enumerate(self.choices):
            if device.id in choice.devices:
                shares = choice.option.device_bytes[:1] if choice.even else choice.option.device_bytes
                yield from ((at, rank) for rank, share in enumerate(shares) if share <= device.usable_bytes)

    def _seat(self, at: int, rank: int, room: int, number: int, gpus: int) -> Seat:
        choice = self.choices[at]
        if choice.size == 1:
            self._seats.append((float(worth(self.goal, choice)), self._instances[at] | self._alone(choice, number, gpus)))
        else:
            self._seats.append((0.0, self._tied(at, rank, number, gpus) | self._alone(choice, number, gpus)))
        self.seat_choice.append(at)
        self.seat_rank.append(rank)
        size = choice.option.device_bytes[rank]
        return Seat(len(self.seat_choice) - 1, size * UNITS // max(1, room), choice.demand.name, size)

    def _alone(self, choice: Choice, number: int, gpus: int) -> Terms:
        """Of demands that are kept apart a GPU takes one: patterns see to it, but for what swaps beside what stays."""
        apart = self.apart(choice.demand.name)
        waits = apart != choice.demand.name and apart in self._waiting
        return {self._row(("apart", apart, number), float(gpus)): 1.0} if waits else {}

    def _tied(self, at: int, rank: int, number: int, gpus: int) -> Terms:
        """No fewer seats of a rank than instances need, and of each instance at most one on each GPU."""
        choice, column = self.choices[at], self._of_sets[at]
        each = choice.size if choice.even else 1
        needed = self._row(("needed", at, rank), 0.0)
        rows: Terms = {needed: -1.0}
        column.terms[needed] = each
        if gpus < each:
            here = self._row(("class", at, number), 0.0)
            rows[here] = 1.0
            column.terms[here] = -gpus
        return rows

    def _class(self, devices: tuple[str, ...], seats: list[Seat], room: int) -> GpuClass:
        groups: dict[str, list[Seat]] = defaultdict(list)
        swapped: list[Seat] = []
        for seat in seats:
            if self._choice(seat).swapped:
                swapped.append(seat)
            else:
                groups[self.apart(seat.demand)].append(seat)
        alone = self._only_endpoint(seats)
        counted = alone is not None and len(alone.devices) == 1 and 1 <= (alone.max_models or 0) <= MOST_MODELS_COUNTED
        return GpuClass(
            devices,
            tuple(tuple(sorted(group, key=_size)) for group in groups.values()),
            tuple(sorted(swapped, key=_size)),
            room,
            alone.max_models if alone is not None and counted else None,
        )

    def _swap_terms(self, gpus: GpuClass) -> Terms:
        endpoint = self._only_endpoint(gpus.swapped)
        row = ("models", endpoint.id) if endpoint is not None else None
        return {row: 1 / len(endpoint.devices)} if endpoint is not None and row in self._limits else {}

    def _only_endpoint(self, seats: list[Seat] | tuple[Seat, ...]) -> Endpoint | None:
        endpoints = {self._choice(seat).endpoint.id for seat in seats}
        return self._choice(seats[0]).endpoint if len(endpoints) == 1 else None

    def _choice(self, seat: Seat) -> Choice:
        return self.choices[self.seat_choice[seat.at]]

    def _rows(self, listed: list[Terms]) -> Rows:
        matrix = np.zeros((len(listed), len(self._place)))
        for at, terms in enumerate(listed):
            for name, value in terms.items():
                matrix[at, self._place[name]] = value
        return Rows(matrix)


def _size(seat: Seat) -> int:
    return seat.bytes


def _on_devices(rule: Rule) -> bool:
    return rule.apart and rule.scope is Scope.DEVICE
