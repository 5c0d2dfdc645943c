"""The newest sample of a host, read back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from models_app.inventory.models import Host
from models_app.probes.types import GpuSample, HostSample
from models_app.telemetry.division import Shares
from models_app.telemetry.models import LatestSample
from models_app.telemetry.samples import unpack

STALE_AFTER = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Latest:
    """A host's newest sample.

    ``shares`` says by GPU's UUID whose the used bytes are; its models are keyed by the ids of ``LoadedModel`` rows.
    ``recent`` maps a GPU's UUID to its used bytes of the last minutes, oldest first.
    """

    host_id: int
    sample: HostSample
    shares: Shares
    recent: dict[str, list[int]]
    is_stale: bool

    def gpu(self, uuid: str) -> GpuSample | None:
        """The GPU of that UUID in the sample, or ``None``."""
        return next((gpu for gpu in self.sample.gpus if gpu.uuid == uuid), None)


def latest(host: Host, now: datetime | None = None) -> Latest | None:
    """The newest sample of a host; ``None`` before the first."""
    return latest_by_host([host.pk], now).get(host.pk)


def latest_by_host(
    host_ids: Iterable[int] | None = None, now: datetime | None = None, *, with_recent: bool = True
) -> dict[int, Latest]:
    """The newest sample of each of these hosts, or of all, in one query; without ``recent`` for who has no use for it."""
    rows = LatestSample.objects.all() if host_ids is None else LatestSample.objects.filter(host_id__in=list(host_ids))
    rows = rows if with_recent else rows.defer("recent")
    return {row.host_id: _latest(row, now or timezone.now(), with_recent=with_recent) for row in rows}


def is_stale(taken_at: datetime, now: datetime | None = None) -> bool:
    """Whether a sample is too old to decide anything by."""
    return (now or timezone.now()) - taken_at > STALE_AFTER


def _latest(row: LatestSample, now: datetime, *, with_recent: bool) -> Latest:
    sample, shares = unpack(bytes(row.payload))
    return Latest(row.host_id, sample, shares, row.recent if with_recent else {}, is_stale(row.taken_at, now))
