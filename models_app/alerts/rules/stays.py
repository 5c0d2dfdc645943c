"""The times that models were in memory, and what of each was not given back afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from models_app.alerts.rules.facts import Facts
from models_app.alerts.rules.fleet import ModelFacts

KEPT = timedelta(hours=1)
MOST_STAYS = 40
"""Ended ones of an endpoint; the oldest are forgotten first."""
SETTLE = timedelta(seconds=15)
"""From a model's end until its memory must be free: servers take up to five seconds, samples come late."""

LEAVING_SHARE = 0.5


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


def stays_after(before: Iterable[Stay], facts: Facts) -> tuple[Stay, ...]:
    """The stays once these facts are known, too: those that ended within the hour, then those that go on."""
    unclaimed = {
        gpu.uuid: gpu.unexplained_bytes + gpu.idle_server_bytes
        for host, gpu in facts.gpus()
        if gpu.is_measured and not host.is_stale
    }
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
            open_stays.append(_going_on(stay, seen))
            del present[stay.endpoint_id, stay.model]
        else:
            ended.append(replace(stay, ended_at=facts.at))
    return (*_kept(ended, facts.at), *open_stays, *present.values())


def _stay(model: ModelFacts, facts: Facts, unclaimed: Mapping[str, int]) -> Stay:
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


def _going_on(stay: Stay, seen: Stay) -> Stay:
    """As it is seen now, with what it held before where most of that is gone: it ends, and its server says so later."""
    latest = stay if seen.total_bytes < LEAVING_SHARE * stay.total_bytes else seen
    return replace(latest, began_at=stay.began_at, is_asked=stay.is_asked or seen.is_asked)


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
