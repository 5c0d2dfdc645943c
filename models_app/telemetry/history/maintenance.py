"""Rolls hours up and deletes what has been kept long enough: a little at each tick, of all GPUs in turn."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from models_app.telemetry.history.rollup import HOUR_SECONDS
from models_app.telemetry.history.store import SPANS, floor, moment, rolled_hours, spliced, steps_chunk
from models_app.telemetry.history.tables import Table, pack
from models_app.telemetry.models import SecondsChunk, StepsChunk

TICK_SECONDS = 10.0
GRACE = timedelta(seconds=60)
"""After an hour's end, for its last samples to be written."""
MOST_CHUNKS = 2000
"""That one tick looks at: more than it can roll up."""
BUSY_SECONDS = 1.0
"""What one tick may take; the rest waits for the next."""


def maintain(now: datetime | None = None) -> None:
    """One tick: roll up the hours that have ended, then delete what is too old."""
    now = now or timezone.now()
    stop = time.monotonic() + BUSY_SECONDS
    for gpu_id, hour in _due_hours(now):
        roll_up(gpu_id, hour)
        if time.monotonic() > stop:
            return
    _expire(now)


def _due_hours(now: datetime) -> list[tuple[int, int]]:
    """The GPU and the hour of everything that waits, the oldest first."""
    ended = moment(floor((now - GRACE).timestamp(), HOUR_SECONDS))
    waiting = SecondsChunk.objects.filter(pending=True, starts_at__lt=ended).order_by("starts_at", "gpu_id")
    places = waiting.values_list("starts_at", "gpu_id")[:MOST_CHUNKS]
    hours = {(floor(starts_at.timestamp(), HOUR_SECONDS), gpu_id) for starts_at, gpu_id in places}
    return [(gpu_id, hour) for hour, gpu_id in sorted(hours)]


@transaction.atomic
def roll_up(gpu_id: int, hour: int) -> None:
    """Write one hour's steps. Doing it again changes nothing; a later sample makes the hour pending again."""
    ends = moment(hour + HOUR_SECONDS)
    rows = SecondsChunk.objects.filter(gpu_id=gpu_id, starts_at__gte=moment(hour), starts_at__lt=ends)
    locked = [row.pk for row in rows.order_by("pk").select_for_update().only("pk")]
    _save(gpu_id, hour, rolled_hours([gpu_id], hour)[gpu_id])
    SecondsChunk.objects.filter(pk__in=locked).update(pending=False)


def _save(gpu_id: int, hour: int, rolled: Mapping[int, Table]) -> None:
    """Steps of an hour each lie in a chunk with those of the days around them."""
    starts = {resolution: floor(hour, SPANS[resolution]) for resolution in rolled}
    days = steps_chunk(gpu_id, HOUR_SECONDS, starts[HOUR_SECONDS])
    whole = {**rolled, HOUR_SECONDS: spliced(days, hour, rolled[HOUR_SECONDS])}
    StepsChunk.objects.bulk_create(
        [
            StepsChunk(
                gpu_id=gpu_id,
                resolution_seconds=resolution,
                starts_at=moment(start),
                payload=pack(whole[resolution], start),
            )
            for resolution, start in starts.items()
        ],
        update_conflicts=True,
        unique_fields=["gpu", "resolution_seconds", "starts_at"],
        update_fields=["payload"],
    )


def kept_since(resolution: int, now: datetime) -> datetime:
    """Since when steps of a resolution are kept; 1 stands for the samples."""
    kept = {
        1: timedelta(hours=settings.HISTORY_RAW_HOURS),
        10: timedelta(hours=settings.HISTORY_10S_HOURS),
        60: timedelta(days=settings.HISTORY_1MIN_DAYS),
        HOUR_SECONDS: timedelta(days=settings.HISTORY_1H_DAYS),
    }
    return now - kept[resolution]


def _expire(now: datetime) -> None:
    """Samples go by whole hours that are rolled up; the steps made from them are sealed at the same time."""
    ended = moment(floor(kept_since(1, now).timestamp(), HOUR_SECONDS))
    with transaction.atomic():
        old = SecondsChunk.objects.filter(starts_at__lt=ended)
        if not old.filter(pending=True).exists():
            unsealed = StepsChunk.objects.filter(resolution_seconds__lt=HOUR_SECONDS, starts_at__lt=ended, sealed=False)
            unsealed.update(sealed=True)
            old.delete()
    for resolution in (10, 60, HOUR_SECONDS):
        oldest = kept_since(resolution, now) - timedelta(seconds=SPANS[resolution])
        StepsChunk.objects.filter(resolution_seconds=resolution, starts_at__lt=oldest).delete()
