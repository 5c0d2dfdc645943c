"""What applying a plan takes away, and for how long: told before anything is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from models_app.plans.models import Plan
from models_app.plans.records import Instance, PlanStep, instances, steps
from models_app.solver.timeline import UNLOAD_SECONDS
from models_app.solver.transitions import Act


@dataclass(frozen=True, slots=True)
class Outage:
    """A model that is unloaded. It is down for ``seconds``, 0 where another instance answers, ``None`` for good.

    ``foreign`` marks one that another client loaded.
    """

    model: str
    endpoint: str
    seconds: float | None
    foreign: bool = False

    @property
    def sentence(self) -> str:
        """The outage in words."""
        model = f"{self.model} (another client's)" if self.foreign else self.model
        if self.seconds is None:
            return f"{model} leaves {self.endpoint} for good."
        if not self.seconds:
            return f"{model} leaves {self.endpoint}, and is served elsewhere without a break."
        return f"{model} leaves {self.endpoint} and is down for about {max(1, round(self.seconds))} s."


def outages(plan: Plan) -> tuple[Outage, ...]:
    """Every unload of the plan, in its order; each step starts as soon as what it waits for has ended."""
    todo = steps(plan.steps)
    ends = _ends(todo)
    demands = {_key(each): each.demand for each in instances(plan.today)}
    kept = [each for each in instances(plan.instances) if not each.swapped and not _is_loaded_by(each, todo)]
    unloads = [step for step in todo if step.act == Act.UNLOAD]
    gone = [replace(step.instance, demand=demands.get(_key(step.instance), "")) for step in unloads]
    began = [ends[step.number] - UNLOAD_SECONDS for step in unloads]
    return tuple(_outage(each, since, todo, ends, kept) for each, since in zip(gone, began, strict=True))


def total_seconds(plan: Plan) -> float:
    """How long the whole apply takes."""
    return max(_ends(steps(plan.steps)).values(), default=0.0)


def _ends(todo: Sequence[PlanStep]) -> dict[int, float]:
    ends: dict[int, float] = {}
    for step in todo:
        start = max((ends[number] for number in step.after), default=0.0)
        ends[step.number] = start + _seconds(step)
    return ends


def _seconds(step: PlanStep) -> float:
    return step.instance.load_seconds if step.act == Act.LOAD else UNLOAD_SECONDS


def _outage(
    gone: Instance, began: float, todo: Sequence[PlanStep], ends: dict[int, float], kept: Sequence[Instance]
) -> Outage:
    if any(_serves(each, gone) for each in kept):
        return Outage(gone.model, gone.endpoint, 0.0, gone.foreign)
    back = [ends[other.number] for other in todo if other.act == Act.LOAD and _serves(other.instance, gone)]
    return Outage(gone.model, gone.endpoint, max(0.0, min(back) - began) if back else None, gone.foreign)


def _serves(one: Instance, gone: Instance) -> bool:
    """Whether an instance answers for the one that goes: for the same demand, or as the same model of the same server."""
    return (bool(gone.demand) and one.demand == gone.demand) or _key(one) == _key(gone)


def _is_loaded_by(instance: Instance, todo: Sequence[PlanStep]) -> bool:
    return any(step.act == Act.LOAD and _key(step.instance) == _key(instance) for step in todo)


def _key(instance: Instance) -> tuple[int, str]:
    return instance.endpoint_id, instance.model
