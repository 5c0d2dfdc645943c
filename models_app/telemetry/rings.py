"""The last minutes of each GPU's used bytes, for its sparkline."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings

from models_app.probes.types import GpuSample, GpuState, HostSample

RECENT_POINTS = 150

Points = dict[str, list[int]]
"""Used bytes by GPU's UUID, oldest first, one a period."""


def with_points(points: Points, points_at: datetime | None, sample: HostSample) -> Points:
    """The ring with a point of this sample: one a period, so a further sample within it replaces the last point."""
    period_seconds = settings.SAMPLE_SECONDS
    silence_seconds = (sample.taken_at - points_at).total_seconds() if points_at else 0
    if silence_seconds >= RECENT_POINTS * period_seconds:
        points = {}
    is_same_period = points_at is not None and _period(points_at) == _period(sample.taken_at)
    return {
        gpu.uuid: _with_point(points.get(gpu.uuid, []), gpu, replace_last=is_same_period)
        for gpu in sample.gpus
        if gpu.uuid in points or gpu.state is GpuState.OK
    }


def _period(taken_at: datetime) -> float:
    return taken_at.timestamp() // settings.SAMPLE_SECONDS


def _with_point(points: list[int], gpu: GpuSample, *, replace_last: bool) -> list[int]:
    """In place: a copy of every ring for every sample would cost more than the rest."""
    if gpu.state is GpuState.OK:
        if replace_last and points:
            points[-1] = gpu.used_bytes
        else:
            points.append(gpu.used_bytes)
        del points[:-RECENT_POINTS]
    return points
