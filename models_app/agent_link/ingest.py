"""Samples of many hosts at once: judged, attributed, remembered, and written in one transaction.

An agent speaks of its own host only: a GPU that another host has is left out, and so is a sample from the future or from
long ago. What is left out is said on the agent's row.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from models_app.agent_link.memory import Memory
from models_app.agent_link.models import Agent
from models_app.agent_link.reports import Seen, observed
from models_app.inventory.models import Endpoint, Gpu, Host, LoadedModel
from models_app.live import Topic, publish
from models_app.probes.types import HostSample
from models_app.telemetry.division import Shares
from models_app.telemetry.history.recorder import recorder
from models_app.telemetry.known import Newest
from models_app.telemetry.newest import store_newest
from models_app.telemetry.precedence import precedence

AHEAD = timedelta(seconds=60)
"""More than that in the future is no matter of delays."""
LATE = timedelta(hours=1)
MOST_GPUS = 256
ABSENT_FOR = timedelta(seconds=30)
"""Without a sample of the host that had a GPU, another host may have it."""
LOOK_SECONDS = 10.0
"""For so long a GPU that was the host's own is believed to be."""
ROWS_SECONDS = 5.0
"""While many report, their rows are believed for so long, unless an agent tells of a change."""


@dataclass(frozen=True, slots=True)
class Reported:
    """What came from one agent since the last time: samples in the order of the sequence, and what endpoints said."""

    agent_id: int
    host: Host
    samples: Sequence[HostSample]
    memory: Memory = field(default_factory=Memory)
    observed: Sequence[Seen] = ()

    def uuids(self) -> set[str]:
        """The GPUs that the samples speak of."""
        return {gpu.uuid for sample in self.samples for gpu in sample.gpus}


def take_in_of_many(batch: Sequence[Reported], *, are_many: bool = False) -> int:
    """``take_in``, when nobody else works for many hosts."""
    with precedence.turn():
        return take_in(batch, are_many=are_many)


def take_in(batch: Sequence[Reported], *, are_many: bool = False) -> int:
    """Record it all. The recorder's ticket: once that is written, everything here is stored.

    With ``are_many`` hosts that report, of which these may be a part, rows take turns.
    """
    precedence.give_way()
    _observe(batch)
    read_rows(batch, are_many=are_many)
    now = timezone.now()
    foreign = _foreign_gpus(batch, now)
    newest: list[Newest] = []
    notes: list[tuple[Host, HostSample, Shares, Sequence[LoadedModel]]] = []
    for each in batch:
        judged, problem = _judged(each, foreign.get(each.host.pk, {}), now)
        _say_problem(each, problem)
        for sample in judged:
            each.memory.hear(sample)
            notes.append((each.host, sample, each.memory.shares(each.host, sample), each.memory.models))
        if judged:
            host, sample, shares, models = notes[-1]
            newest.append(Newest(host, sample, shares, models, each.memory.known, each.memory.details))
    for note in notes:
        recorder.note(*note)
    ticket = recorder.ticket()
    with transaction.atomic():
        store_newest(newest, are_many=are_many)
        publish(Topic.TELEMETRY)
    return ticket


def _observe(batch: Sequence[Reported]) -> None:
    seen = [each for reported in batch for each in reported.observed]
    changed = observed(seen) if seen else set()
    for reported in batch:
        if reported.host.pk in changed:
            reported.memory.rows_until = 0.0


def read_rows(batch: Sequence[Reported], *, are_many: bool) -> None:
    """The endpoints of the hosts of which too little is known, and the models loaded there, in a query each."""
    at = time.monotonic()
    asked = {each.host.pk: each for each in batch if at >= each.memory.rows_until}
    endpoints: dict[int, list[Endpoint]] = {host_id: [] for host_id in asked}
    models: dict[int, list[LoadedModel]] = {host_id: [] for host_id in asked}
    by_id: dict[int, Endpoint] = {}
    for endpoint in Endpoint.objects.filter(host__in=asked).select_related("managed"):
        endpoint.host = asked[endpoint.host_id].host
        by_id[endpoint.pk] = endpoint
        endpoints[endpoint.host_id].append(endpoint)
    for row in LoadedModel.objects.filter(endpoint__host__in=asked):
        if row.endpoint_id in by_id:
            row.endpoint = by_id[row.endpoint_id]
            models[row.endpoint.host_id].append(row)
    until = at + ROWS_SECONDS if are_many else 0.0
    for host_id, each in asked.items():
        each.memory.use(endpoints[host_id], models[host_id], until)


def _say_problem(reported: Reported, problem: str) -> None:
    if problem != reported.memory.problem:
        Agent.objects.filter(pk=reported.agent_id).exclude(problem=problem).update(problem=problem)
        reported.memory.problem = problem


def _judged(reported: Reported, foreign: Mapping[str, str], now: datetime) -> tuple[list[HostSample], str]:
    """The samples that may be believed, and what was wrong with the others, in a sentence."""
    judged, problem = [], ""
    for sample in reported.samples:
        if not is_plausible(sample, now):
            problem = "A sample was refused: it is from the future, from long ago, or too large."
            continue
        if foreign or sample.taken_at > now:
            own = tuple(gpu for gpu in sample.gpus if gpu.uuid not in foreign)
            sample = replace(sample, gpus=own, taken_at=min(sample.taken_at, now))
        judged.append(sample)
    if foreign:
        problem = f"It reports {min(foreign)[:96]}, which is a GPU of {foreign[min(foreign)]}: that is left out."
    return judged, problem


def is_plausible(sample: HostSample, now: datetime) -> bool:
    """Whether a sample is of about this time, and of no more GPUs than a host has."""
    return now - LATE < sample.taken_at < now + AHEAD and len(sample.gpus) <= MOST_GPUS


def _foreign_gpus(batch: Sequence[Reported], now: datetime) -> dict[int, dict[str, str]]:
    """GPUs that another host has, by the id of the host that reports them: by UUID, with the other host's name."""
    at, reported = time.monotonic(), {each.host.pk: each.uuids() for each in batch}
    memories = {each.host.pk: each.memory for each in batch}
    due = [key for key, uuids in reported.items() if not memories[key].is_own(uuids, at - LOOK_SECONDS)]
    wanted = {uuid for key in due for uuid in reported[key]}
    there = Q(present=True, host__last_sample_at__gt=now - ABSENT_FOR) | Q(host__is_local=True, present=True)
    rows = Gpu.objects.filter(there, uuid__in=wanted).order_by().values_list("uuid", "host_id", "host__name")
    owners = {uuid: (host_id, name) for uuid, host_id, name in rows} if wanted else {}
    foreign: dict[int, dict[str, str]] = {}
    for key in due:
        known = {uuid: owners[uuid] for uuid in reported[key] if uuid in owners}
        foreign[key] = {uuid: name for uuid, (host_id, name) in known.items() if host_id != key}
        memories[key].own, memories[key].looked = frozenset(reported[key] - foreign[key].keys()), at
    return foreign
