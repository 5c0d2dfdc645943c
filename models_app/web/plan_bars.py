"""A plan's memory pools for the screen: each GPU as it is today and as it will be, in the Fleet's own bars."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from models_app.operations.fleet_view import Segment, SegmentKind
from models_app.plans.changes import IMAGINARY
from models_app.plans.fleet import Fleet, Pool
from models_app.plans.records import Instance
from models_app.web.colours import spread

SWAP_NAMES = 3


@dataclass(frozen=True, slots=True)
class Bar:
    """What fills a pool: its segments, and the bytes in use together."""

    segments: tuple[Segment, ...]
    used_bytes: int


@dataclass(frozen=True, slots=True)
class PoolRows:
    """A pool with its two bars. ``is_changed`` says whether the plan moves anything there."""

    pool: Pool
    today: Bar
    planned: Bar
    is_changed: bool

    @property
    def is_imaginary(self) -> bool:
        """Whether it is only supposed."""
        return self.pool.id.startswith(IMAGINARY)


@dataclass(frozen=True, slots=True)
class HostRows:
    """A host with its pools. ``colours`` maps a model's hue to its colour there, alike in both rows."""

    name: str
    pools: tuple[PoolRows, ...]
    colours: dict[int, int]


def host_rows(
    fleet: Fleet, today: Iterable[Instance], planned: Iterable[Instance], swap_bytes: dict[str, int]
) -> tuple[HostRows, ...]:
    """Every host with its GPUs; host RAM only where models run on the CPU."""
    now, then = list(today), list(planned)
    shown = [
        pool for pool in fleet.pools if pool.is_gpu or any(_share(pool, each) for each in (*now, *then) if not each.gpus)
    ]
    rows = [_pool_rows(pool, now, then, swap_bytes.get(pool.id, 0)) for pool in shown]
    return tuple(_host(name, [row for row in rows if row.pool.host == name]) for name in _hosts(shown))


def _hosts(pools: Iterable[Pool]) -> list[str]:
    return list(dict.fromkeys(pool.host for pool in pools))


def _host(name: str, rows: list[PoolRows]) -> HostRows:
    ordered = sorted(rows, key=lambda row: (not row.pool.is_gpu, row.pool.index))
    beside = [{part.hue for part in bar.segments if part.hue} for row in ordered for bar in (row.today, row.planned)]
    hues = list(dict.fromkeys(part.hue for row in ordered for bar in (row.today, row.planned) for part in bar.segments))
    return HostRows(name, tuple(ordered), spread(beside, [hue for hue in hues if hue]))


def _pool_rows(pool: Pool, today: list[Instance], planned: list[Instance], swap: int) -> PoolRows:
    now = [each for each in today if _share(pool, each)]
    then = [each for each in planned if _share(pool, each)]
    keys = [{(each.model, each.context_length) for each in listed} for listed in (now, then)]
    return PoolRows(pool, _bar(pool, now, 0), _bar(pool, then, swap), keys[0] != keys[1])


def _share(pool: Pool, instance: Instance) -> int:
    return instance.bytes.get(pool.id, 0)


def _bar(pool: Pool, instances: list[Instance], swap: int) -> Bar:
    """Driver, models in the order of their size, swap space, other programs; nothing is drawn beyond the pool's end."""
    resident = sorted((each for each in instances if not each.swapped), key=lambda each: -_share(pool, each))
    fixed = sum(_share(pool, each) for each in resident if each.fixed)
    swapped = [each for each in instances if each.swapped]
    parts = [(SegmentKind.DRIVER, "", 0, pool.reserved_bytes)]
    parts += [(SegmentKind.WEIGHTS, each.model, each.hue, _share(pool, each)) for each in resident]
    if swap:
        parts.append((SegmentKind.SWAP, _swap_names(swapped), swapped[0].hue if swapped else 0, swap))
    parts.append((SegmentKind.OTHER, "other programs", 0, max(0, pool.others_bytes - fixed)))
    segments, offset = [], 0
    for kind, name, hue, size in parts:
        size = min(size, pool.total_bytes - offset)
        if size > 0:
            segments.append(Segment(kind, name, hue, offset, size))
            offset += size
    return Bar(tuple(segments), sum(part.size_bytes for part in segments if part.kind is not SegmentKind.DRIVER))


def _swap_names(swapped: list[Instance]) -> str:
    names = [each.model for each in swapped[:SWAP_NAMES]]
    more = len(swapped) - len(names)
    return " or ".join(names) + (f" or {more} more" if more > 0 else "")
