"""What rules remember of earlier snapshots, as a value: which models came and went, what grew, and since when.

``Past.after(facts)`` is the memory with one more snapshot in it. It is bounded, and can be stored as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from models_app.alerts.rules.facts import Facts
from models_app.alerts.rules.fleet import HostFacts, ModelFacts
from models_app.alerts.rules.stays import Stay, stays_after
from models_app.backends.protocol import ModelState

GROWTH_EVERY = timedelta(seconds=30)
MOST_POINTS = 60
BUSY_PERCENT = 5


@dataclass(frozen=True, slots=True)
class Grown:
    """What the process of a model held over time, as (when, bytes), oldest first."""

    row_id: int
    points: tuple[tuple[datetime, int], ...]


@dataclass(frozen=True, slots=True)
class Rise:
    """How far a load has come, and since when no further."""

    risen_bytes: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Past:
    """The memory. ``busy_at`` says by GPU's UUID when it last worked, or was first seen; ``growth`` and
    ``stopping_since`` (when it was first seen on its way out) are by a loaded model's row, ``rises`` by the operation.
    """

    stays: tuple[Stay, ...] = ()
    growth: dict[int, Grown] = field(default_factory=dict)
    busy_at: dict[str, datetime] = field(default_factory=dict)
    stopping_since: dict[int, datetime] = field(default_factory=dict)
    rises: dict[int, Rise] = field(default_factory=dict)

    def after(self, facts: Facts) -> Past:
        """The memory once these facts are in it, too."""
        return Past(
            stays=stays_after(self.stays, facts),
            growth=_growth(self.growth, facts),
            busy_at=_busy_at(self.busy_at, facts),
            stopping_since=_stopping_since(self.stopping_since, facts),
            rises=_rises(self.rises, facts),
        )

    def stays_by_endpoint(self) -> dict[int, list[Stay]]:
        """All stays; the ended ones in the order of their ends, then those that go on."""
        found: dict[int, list[Stay]] = {}
        for stay in self.stays:
            found.setdefault(stay.endpoint_id, []).append(stay)
        return found

    def ended_by_endpoint(self) -> dict[int, list[Stay]]:
        """The ended stays, in the order of their ends."""
        return {
            endpoint_id: [stay for stay in stays if stay.ended_at]
            for endpoint_id, stays in self.stays_by_endpoint().items()
        }


def _growth(before: Mapping[int, Grown], facts: Facts) -> dict[int, Grown]:
    """Only of models whose bytes are measured by their process: a claim does not grow."""
    measured = [
        model
        for host, _, model in facts.models()
        if model.attributed_by == "process" and not host.is_stale and _is_at_rest(model)
    ]
    return {model.id: _grown(before.get(model.id), model, facts.at) for model in measured}


def _is_at_rest(model: ModelFacts) -> bool:
    return model.state == ModelState.LOADED and model.operation_id is None


def _grown(before: Grown | None, model: ModelFacts, now: datetime) -> Grown:
    points = before.points if before else ()
    if points and now - points[-1][0] < GROWTH_EVERY:
        return Grown(model.id, points)
    return Grown(model.id, (*points, (now, model.vram_bytes))[-MOST_POINTS:])


def _busy_at(before: Mapping[str, datetime], facts: Facts) -> dict[str, datetime]:
    return {gpu.uuid: _busy_since(before, host, gpu.uuid, gpu.utilization_percent, facts.at) for host, gpu in facts.gpus()}


def _busy_since(before: Mapping[str, datetime], host: HostFacts, uuid: str, percent: int | None, now: datetime) -> datetime:
    """A GPU whose work is not known counts as busy."""
    is_idle = percent is not None and percent <= BUSY_PERCENT and not host.is_stale
    return before.get(uuid, now) if is_idle else now


def _stopping_since(before: Mapping[int, datetime], facts: Facts) -> dict[int, datetime]:
    stopping = [model.id for _, _, model in facts.models() if model.state == ModelState.STOPPING]
    return {row_id: before.get(row_id, facts.at) for row_id in stopping}


def _rises(before: Mapping[int, Rise], facts: Facts) -> dict[int, Rise]:
    return {load.operation_id: _rise(before.get(load.operation_id), load.risen_bytes, facts.at) for load in facts.loads}


def _rise(before: Rise | None, risen_bytes: int, now: datetime) -> Rise:
    return before if before and risen_bytes <= before.risen_bytes else Rise(risen_bytes, now)
