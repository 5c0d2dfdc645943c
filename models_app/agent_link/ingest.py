"""Samples of many hosts at once: judged, attributed, remembered, and written in one transaction.

An agent speaks of its own host only: a GPU that another host has is left out, and so is a sample from the future or from
long ago. What is left out is said on the agent's row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from models_app.agent_link.models import Agent
from models_app.inventory.models import Endpoint, Gpu, Host, LoadedModel
from models_app.live import Topic, publish
from models_app.probes.types import HostSample
from models_app.telemetry.attribution import Shares, shares_of
from models_app.telemetry.collector import store_latest
from models_app.telemetry.history.recorder import recorder
from models_app.telemetry.models import LatestSample

AHEAD = timedelta(seconds=60)
"""More than that in the future is no matter of delays."""
LATE = timedelta(hours=1)
MOST_GPUS = 256
ABSENT_FOR = timedelta(seconds=30)
"""Without a sample of the host that had a GPU, another host may have it."""


@dataclass(frozen=True, slots=True)
class Reported:
    """What came from one agent since the last time, in the order of the sequence."""

    agent_id: int
    host: Host
    samples: Sequence[HostSample]


def take_in(batch: Sequence[Reported]) -> int:
    """Record it all. The recorder's ticket: once that is written, everything here is stored."""
    known = _Known({each.host.pk for each in batch})
    now = timezone.now()
    newest: list[tuple[Host, HostSample, Shares, LatestSample | None]] = []
    for each in batch:
        judged, problem = known.judged(each, now)
        Agent.objects.filter(pk=each.agent_id).exclude(problem=problem).update(problem=problem)
        rows = known.loaded.get(each.host.pk, [])
        shares: Shares = {}
        for sample in judged:
            shares = shares_of(each.host, sample, rows, known.endpoints.get(each.host.pk, []))
            recorder.note(each.host, sample, shares, rows)
        if judged:
            newest.append((each.host, judged[-1], shares, known.latest.get(each.host.pk)))
    with transaction.atomic():
        for host, sample, shares, before in newest:
            store_latest(host, sample, shares, before, known.loaded.get(host.pk, []))
        publish(Topic.TELEMETRY)
    return recorder.ticket()


class _Known:
    """The rows about some hosts, in a query each."""

    def __init__(self, host_ids: set[int]) -> None:
        self.loaded: dict[int, list[LoadedModel]] = {}
        self.endpoints: dict[int, list[Endpoint]] = {}
        for endpoint in Endpoint.objects.filter(host__in=host_ids).select_related("host"):
            self.endpoints.setdefault(endpoint.host_id, []).append(endpoint)
        for row in LoadedModel.objects.filter(endpoint__host__in=host_ids).select_related("endpoint"):
            self.loaded.setdefault(row.endpoint.host_id, []).append(row)
        self.latest = {row.host_id: row for row in LatestSample.objects.filter(host__in=host_ids)}

    def judged(self, reported: Reported, now: datetime) -> tuple[list[HostSample], str]:
        """The samples that may be believed, and what was wrong with the others, in a sentence."""
        foreign = _foreign_gpus(reported.host, {gpu.uuid for sample in reported.samples for gpu in sample.gpus}, now)
        judged, problem = [], ""
        for sample in reported.samples:
            if not now - LATE < sample.taken_at < now + AHEAD or len(sample.gpus) > MOST_GPUS:
                problem = "A sample was refused: it is from the future, from long ago, or too large."
                continue
            own = tuple(gpu for gpu in sample.gpus if gpu.uuid not in foreign)
            judged.append(replace(sample, gpus=own, taken_at=min(sample.taken_at, now)))
        if foreign:
            problem = f"It reports {min(foreign)[:96]}, which is a GPU of {foreign[min(foreign)]}: that is left out."
        return judged, problem


def _foreign_gpus(host: Host, uuids: Iterable[str], now: datetime) -> dict[str, str]:
    """GPUs that another host has, by UUID, with that host's name."""
    there = Q(present=True, host__last_sample_at__gt=now - ABSENT_FOR) | Q(host__is_local=True, present=True)
    rows = Gpu.objects.filter(there, uuid__in=list(uuids)).exclude(host=host)
    return dict(rows.values_list("uuid", "host__name"))
