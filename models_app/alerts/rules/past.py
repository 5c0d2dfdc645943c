"""What rules remember of earlier snapshots, as a value: which models came and went, what grew, and since when.

``Past.after(facts)`` is the memory with one more snapshot in it. It is bounded, and can be stored as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from models_app.alerts.rules.facts import Facts
from models_app.backends.protocol import ModelState
from models_app.operations.fleet_view import GpuView, HostView, ModelView, SegmentKind

KEPT = timedelta(hours=1)
MOST_STAYS = 40
"""Ended ones of an endpoint; the oldest are forgotten first."""
SETTLE = timedelta(seconds=15)
"""From a model's end until its memory must be free: servers take up to five seconds, samples come late."""
GROWTH_EVERY = timedelta(seconds=30)
MOST_POINTS = 60
BUSY_PERCENT = 5
SERVER_PROCESSES = frozenset({"ollama", "ollama_llama_server", "llama-server"})


@dataclass(frozen=True, slots=True)
class Stay:
    """One time that a model was in memory, as it was seen last.

    ``row_id`` and the context tell one stay from the next. ``is_asked``: Berth loaded it. ``held_bytes`` is by GPU's UUID,
    and so is ``unclaimed_bytes``, what no model claimed there. ``residue_bytes`` is how much of ``held_bytes``
    was not given back after the end; ``None`` while that is not known.
    """

    endpoint_id: int
    model: str
    row_id: int
    context_length: int | None
    began_at: datetime
    is_asked: bool
    held_bytes: dict[str, int]
    unclaimed_bytes: dict[str, int]
    ended_at: datetime | None = None
    residue_bytes: int | None = None

    @property
    def total_bytes(self) -> int:
        """What it held on all GPUs together."""
        return sum(self.held_bytes.values())


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
            stays=_stays(self.stays, facts),
            growth=_growth(self.growth, facts),
            busy_at=_busy_at(self.busy_at, facts),
            stopping_since=_stopping_since(self.stopping_since, facts),
            rises=_rises(self.rises, facts),
        )

    def ended(self, endpoint_id: int) -> list[Stay]:
        """The ended stays on an endpoint, in the order of their ends."""
        return [stay for stay in self.stays if stay.endpoint_id == endpoint_id and stay.ended_at]


def _stays(before: Iterable[Stay], facts: Facts) -> tuple[Stay, ...]:
    unclaimed = {gpu.uuid: _unclaimed_bytes(gpu) for host, gpu in facts.gpus() if gpu.is_measured and not host.is_stale}
    present = {
        (endpoint.id, model.name): _stay(model, facts, unclaimed)
        for _, endpoint, model in facts.models()
        if endpoint.is_online
    }
    online = {endpoint.id for _, endpoint in facts.endpoints() if endpoint.is_online}
    known = {endpoint.id for _, endpoint in facts.endpoints()}
    ended, open_stays = [], []
    for stay in before:
        if stay.endpoint_id not in known:
            continue
        if stay.ended_at is not None:
            ended.append(_settled(stay, facts.at, unclaimed))
        elif stay.endpoint_id not in online:
            open_stays.append(stay)
        elif (seen := present.get((stay.endpoint_id, stay.model))) and _is_same(stay, seen):
            open_stays.append(replace(seen, began_at=stay.began_at, is_asked=stay.is_asked or seen.is_asked))
            del present[stay.endpoint_id, stay.model]
        else:
            ended.append(replace(stay, ended_at=facts.at))
    return (*_kept(ended, facts.at), *open_stays, *present.values())


def _unclaimed_bytes(gpu: GpuView) -> int:
    """What nobody accounts for, and what processes of servers hold for none of their models."""
    idle = (part for part in gpu.segments if part.kind is SegmentKind.OTHER and part.name in SERVER_PROCESSES)
    return gpu.unexplained_bytes + sum(part.size_bytes for part in idle)


def _stay(model: ModelView, facts: Facts, unclaimed: Mapping[str, int]) -> Stay:
    return Stay(
        endpoint_id=model.endpoint_id,
        model=model.name,
        row_id=model.id,
        context_length=model.context_length,
        began_at=facts.at,
        is_asked=bool(model.loaded_by or model.operation_id),
        held_bytes=dict(model.gpu_bytes),
        unclaimed_bytes={uuid: unclaimed[uuid] for uuid in model.gpu_bytes if uuid in unclaimed},
    )


def _is_same(stay: Stay, seen: Stay) -> bool:
    return stay.row_id == seen.row_id and stay.context_length in (seen.context_length, None)


def _settled(stay: Stay, now: datetime, unclaimed: Mapping[str, int]) -> Stay:
    """With what the GPUs still hold of it: the least that was ever seen, for other memory comes and goes."""
    is_known = bool(stay.unclaimed_bytes) and stay.unclaimed_bytes.keys() <= unclaimed.keys()
    if stay.ended_at is None or now - stay.ended_at < SETTLE or not is_known:
        return stay
    more = sum(max(0, unclaimed[uuid] - before) for uuid, before in stay.unclaimed_bytes.items())
    residue = min(more, stay.total_bytes, stay.total_bytes if stay.residue_bytes is None else stay.residue_bytes)
    return replace(stay, residue_bytes=residue)


def _kept(ended: list[Stay], now: datetime) -> list[Stay]:
    recent = [stay for stay in ended if stay.ended_at and now - stay.ended_at <= KEPT]
    counts: dict[int, int] = {}
    kept = []
    for stay in reversed(recent):
        counts[stay.endpoint_id] = counts.get(stay.endpoint_id, 0) + 1
        if counts[stay.endpoint_id] <= MOST_STAYS:
            kept.append(stay)
    return kept[::-1]


def _growth(before: Mapping[int, Grown], facts: Facts) -> dict[int, Grown]:
    """Only of models whose bytes are measured by their process: a claim does not grow."""
    measured = [
        model
        for host, _, model in facts.models()
        if model.attributed_by == "process" and not host.is_stale and _is_at_rest(model)
    ]
    return {model.id: _grown(before.get(model.id), model, facts.at) for model in measured}


def _is_at_rest(model: ModelView) -> bool:
    return model.state == ModelState.LOADED and model.operation_id is None


def _grown(before: Grown | None, model: ModelView, now: datetime) -> Grown:
    points = before.points if before else ()
    if points and now - points[-1][0] < GROWTH_EVERY:
        return Grown(model.id, points)
    return Grown(model.id, (*points, (now, model.vram_bytes))[-MOST_POINTS:])


def _busy_at(before: Mapping[str, datetime], facts: Facts) -> dict[str, datetime]:
    return {gpu.uuid: _busy_since(before, host, gpu.uuid, gpu.utilization_percent, facts.at) for host, gpu in facts.gpus()}


def _busy_since(before: Mapping[str, datetime], host: HostView, uuid: str, percent: int | None, now: datetime) -> datetime:
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
