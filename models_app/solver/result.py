"""What a placement answers: who goes where, how good that is and how surely, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from models_app.solver.types import Assignment


class Goal(StrEnum):
    """What is optimised, the first before the second and so on."""

    PINS = "pins"
    RESIDENCY = "residency"
    QUALITY = "quality"
    LATENCY = "latency"
    DISRUPTION = "disruption"
    BALANCE = "balance"

    @property
    def maximised(self) -> bool:
        """Whether more is better."""
        return self in (Goal.PINS, Goal.RESIDENCY, Goal.QUALITY)


@dataclass(frozen=True, slots=True)
class GoalResult:
    """What was reached for a goal, and the best that is not ruled out given the goals before it."""

    goal: Goal
    value: int
    bound: int

    @property
    def proven(self) -> bool:
        """Whether nothing among the enumerated options is better."""
        return self.value == self.bound

    @property
    def gap(self) -> float:
        """How far the value may be from the best, as a share of the larger of the two: 0 when proven."""
        largest = max(abs(self.value), abs(self.bound))
        return abs(self.bound - self.value) / largest if largest else 0.0


class Change(StrEnum):
    """What would meet a demand, least harm first."""

    QUANTISE = "quantise"
    SHORTEN = "shorten"
    DROP = "drop"
    ADD_GPU = "add_gpu"
    ADD_RAM = "add_ram"
    RELAX = "relax"
    """Lift the pin, the allowed hosts, the tolerance or the rule that stands in the way."""
    PULL = "pull"
    """Install it where there is room. The solver itself knows no files; who poses the problem may offer this."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change that meets a demand, in words and in bytes: of the GPU to add, or of the room that it makes.

    ``demands`` are those to drop, ``context_length`` the tokens to shorten to; ``on_demand`` lets it wait for a load.
    """

    change: Change
    description: str
    bytes: int
    demands: tuple[str, ...] = ()
    context_length: int | None = None
    on_demand: bool = False


@dataclass(frozen=True, slots=True)
class Unmet:
    """A demand that is not fully met. ``remedies`` are what would meet it, the cheapest first."""

    demand: str
    served: int
    wanted: int
    reason: str
    needed_bytes: int
    free_bytes: int
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """Where every instance goes. ``swap_bytes`` is the swap space of each device that has one.

    ``baseline`` are the goals' values under the greedy allocation.
    """

    assignments: tuple[Assignment, ...]
    swap_bytes: dict[str, int]
    goals: tuple[GoalResult, ...]
    baseline: tuple[int, ...] = ()
    unmet: tuple[Unmet, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[int, ...]:
        """The goals' values, in the order of the goals."""
        return tuple(result.value for result in self.goals)

    @property
    def proven(self) -> bool:
        """Whether all goals are proven: optimal over the enumerated options."""
        return all(result.proven for result in self.goals)
