"""An applied plan for its page: whether it may be applied, what has drifted, and what was done against it."""

from __future__ import annotations

from dataclasses import dataclass

from models_app.operations.models import Operation
from models_app.plans.corrections import Correction, EnforcementStop
from models_app.plans.drift import Difference, drift
from models_app.plans.models import Plan

CORRECTIONS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class AppliedView:
    """``operation`` is the latest apply of the plan. Differences are told while the plan is the active one."""

    plan: Plan
    operation: Operation | None
    is_active: bool
    differences: tuple[Difference, ...]
    corrections: tuple[Correction, ...]
    stops: tuple[EnforcementStop, ...]

    @property
    def can_apply(self) -> bool:
        """Whether to offer it; reality is asked once somebody does."""
        plan = self.plan
        is_solved = plan.state in (Plan.State.DRAFT, Plan.State.STALE)
        is_under_way = self.operation is not None and self.operation.is_active
        return is_solved and not (is_under_way or plan.is_what_if or plan.impossible or plan.places_nothing)


def applied_view(plan: Plan) -> AppliedView:
    """The plan as its page shows it."""
    is_active = plan.state == Plan.State.APPLIED
    return AppliedView(
        plan=plan,
        operation=plan.operation,
        is_active=is_active,
        differences=drift(plan) if is_active else (),
        corrections=tuple(plan.corrections.select_related("endpoint", "operation")[:CORRECTIONS_SHOWN]),
        stops=tuple(plan.stops.select_related("endpoint")),
    )
