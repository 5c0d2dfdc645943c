"""An apply for its page: its steps with what each waits for, how far it is, and what may become of it."""

from __future__ import annotations

from dataclasses import dataclass

from models_app.operations.apply_steps import ApplyStep
from models_app.operations.models import Operation


@dataclass(frozen=True, slots=True)
class ApplyView:
    """``steps`` are rows with the sentence of what they wait for. ``follower`` is the apply that took over from it."""

    steps: tuple[tuple[ApplyStep, str], ...]
    done: int
    follower: Operation | None
    can_resume: bool
    can_roll_back: bool

    @property
    def total(self) -> int:
        """The number of steps."""
        return len(self.steps)


def apply_view(operation: Operation) -> ApplyView:
    """The apply as its page shows it."""
    rows = list(operation.apply_steps.select_related("endpoint__host", "part"))
    open_positions = {row.position for row in rows if row.state not in ApplyStep.SETTLED}
    follower = operation.followers.order_by("pk").last()
    may_follow = not operation.is_active and follower is None
    return ApplyView(
        steps=tuple((row, _waits_for(row, open_positions)) for row in rows),
        done=len(rows) - len(open_positions),
        follower=follower,
        can_resume=may_follow and bool(open_positions),
        can_roll_back=may_follow and any(row.state == ApplyStep.State.DONE for row in rows),
    )


def _waits_for(row: ApplyStep, open_positions: set[int]) -> str:
    numbers = [str(position + 1) for position in row.after if position in open_positions]
    if row.state != ApplyStep.State.PENDING or not numbers:
        return ""
    return f"after step {numbers[0]}" if len(numbers) == 1 else f"after steps {', '.join(numbers[:-1])} and {numbers[-1]}"
