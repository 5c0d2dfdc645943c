"""A plan's rows as values: where an instance goes, a step on the way there, a goal's value, an unmet demand.

They are explicit: whoever applies a plan needs nothing but these rows. Bytes are those of the estimate's upper band, by
memory pool: a GPU's UUID, or ``ram:`` and the host's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Any, TypeVar

from models_app.backends.protocol import LoadOptions

T = TypeVar("T")
RAM = "ram:"
"""How the pool of a host's RAM is named, before the host's name."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One model on one endpoint. ``model`` is the endpoint's own name for it, ``options`` are ``LoadOptions.given()``.

    ``gpus`` are UUIDs in the order of the split, empty for the CPU alone. ``layers`` on the GPU are ``None`` for all. A
    ``swapped`` instance is loaded only when asked for, within the swap space. ``fixed`` marks one that its server alone
    decides about; ``foreign`` one that another client loaded. ``demand`` is empty for what nobody demands, which stays only
    where there is room. ``context_length`` and ``slots`` are ``None`` where the endpoint does not tell.
    """

    demand: str
    endpoint_id: int
    endpoint: str
    host: str
    model: str
    gpus: tuple[str, ...]
    bytes: dict[str, int]
    peak_bytes: dict[str, int] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    quantization: str = ""
    hue: int = 0
    context_length: int | None = None
    slots: int | None = None
    layers: int | None = None
    quality: int = 0
    latency_ms: int = 0
    load_seconds: float = 0.0
    grade: str = ""
    swapped: bool = False
    fixed: bool = False
    foreign: bool = False

    @property
    def load_options(self) -> LoadOptions:
        """The options to load it with."""
        return LoadOptions(**self.options)

    @property
    def total_bytes(self) -> int:
        """All pools together."""
        return sum(self.bytes.values())


@dataclass(frozen=True, slots=True)
class PlanStep:
    """An unload or a load (``act``). ``after`` are the numbers of the steps that must have ended before it starts.

    A ``detour`` takes away for a while what the plan keeps, or brings it back.
    """

    number: int
    act: str
    instance: Instance
    after: tuple[int, ...] = ()
    detour: bool = False


@dataclass(frozen=True, slots=True)
class GoalRow:
    """What was reached for a goal, the best that is not ruled out, and what the greedy allocation reaches."""

    goal: str
    value: int
    bound: int
    baseline: int = 0

    @property
    def proven(self) -> bool:
        """Whether nothing among the enumerated options is better."""
        return self.value == self.bound

    @property
    def gap(self) -> float:
        """How far it may be from the best, as a share of the larger of the two."""
        largest = max(abs(self.value), abs(self.bound))
        return abs(self.bound - self.value) / largest if largest else 0.0


@dataclass(frozen=True, slots=True)
class RemedyRow:
    """A change that would meet a demand, as ``solver.result.Remedy`` has it; a pull names the endpoint and the model."""

    change: str
    description: str
    bytes: int = 0
    demands: tuple[str, ...] = ()
    context_length: int | None = None
    on_demand: bool = False
    endpoint_id: int | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class UnmetRow:
    """A demand that is not fully met: how many instances of those wanted, why, and what would, the cheapest first.

    ``code`` is ``no_room``, ``exceeds_all`` (not even an empty fleet has room), ``names_nothing`` or ``unknown_place``.
    """

    demand: str
    code: str
    served: int
    wanted: int
    reason: str
    needed_bytes: int
    free_bytes: int
    remedies: tuple[RemedyRow, ...] = ()


def rows(values: Iterable[Any]) -> list[dict[str, Any]]:
    """Values as plain JSON."""
    return [asdict(value) for value in values]


def instances(listed: Iterable[Mapping[str, Any]]) -> tuple[Instance, ...]:
    """The instances of a plan's rows."""
    return tuple(_instance(row) for row in listed)


def steps(listed: Iterable[Mapping[str, Any]]) -> tuple[PlanStep, ...]:
    """The steps of a plan's rows."""
    return tuple(
        _made(PlanStep, {**row, "instance": _instance(row["instance"]), "after": tuple(row["after"])}) for row in listed
    )


def goals(listed: Iterable[Mapping[str, Any]]) -> tuple[GoalRow, ...]:
    """The goals of a plan's rows."""
    return tuple(_made(GoalRow, row) for row in listed)


def unmet(listed: Iterable[Mapping[str, Any]]) -> tuple[UnmetRow, ...]:
    """The unmet demands of a plan's rows."""
    return tuple(_made(UnmetRow, {**row, "remedies": tuple(_remedy(each) for each in row["remedies"])}) for row in listed)


def _instance(row: Mapping[str, Any]) -> Instance:
    return _made(Instance, {**row, "gpus": tuple(row["gpus"])})


def _remedy(row: Mapping[str, Any]) -> RemedyRow:
    return _made(RemedyRow, {**row, "demands": tuple(row["demands"])})


def _made(kind: type[T], row: Mapping[str, Any]) -> T:
    """Unknown keys are ignored, so that rows of another version can still be read."""
    names = _names(kind)  # type: ignore[arg-type]
    return kind(**{name: value for name, value in row.items() if name in names})


@cache
def _names(kind: type[Any]) -> frozenset[str]:
    return frozenset(each.name for each in fields(kind))
