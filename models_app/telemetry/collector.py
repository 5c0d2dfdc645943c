"""Writes samples down: the newest of each host, and the GPUs as the samples describe them."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import transaction
from django.db.models import Q

from models_app.inventory.models import Host, LoadedModel
from models_app.live import Topic, publish
from models_app.probes.types import HostSample
from models_app.telemetry.attribution import shares_of
from models_app.telemetry.history.recorder import recorder
from models_app.telemetry.known import Known, Newest
from models_app.telemetry.newest import store_newest
from models_app.telemetry.precedence import precedence
from models_app.telemetry.showing import show
from models_app.telemetry.sources import probe_of, registered_hosts, sample_now_async

log = logging.getLogger(__name__)


def record_sample(host: Host, sample: HostSample, known: Known | None = None) -> bool:
    """Make the rows say what the sample shows; false for one that was recorded before or comes too late for them.

    The memory takes every sample, whenever it comes, and each once. ``known`` is what was known of the host's rows at its
    sample before.
    """
    rows = list(LoadedModel.objects.filter(endpoint__host=host))
    shares = shares_of(host, sample, rows)
    newest = Newest(host, sample, shares, rows, known or Known())
    show(newest)
    recorder.note(host, sample, shares, rows)
    return record_newest(newest)


def record_newest(newest: Newest) -> bool:
    """Write the row, once whoever looks has seen the sample; false where the row's is newer."""
    precedence.give_way()
    with transaction.atomic():
        is_newer = bool(store_newest([newest]))
        if is_newer:
            publish(Topic.TELEMETRY, newest.host.pk)
    return is_newer


class Collector:
    """Samples every host that has a probe in this process; a slow host delays no other."""

    def __init__(self) -> None:
        self._sampling: dict[int, asyncio.Task[None]] = {}
        self._known: defaultdict[int, Known] = defaultdict(Known)

    async def tick(self) -> None:
        """Sample and record each host, unless its sample before has not come yet. Ends within one period."""
        for host in await sync_to_async(_sampled_hosts)():
            if host.pk not in self._sampling or self._sampling[host.pk].done():
                self._sampling[host.pk] = asyncio.create_task(self._collect(host))
        if self._sampling:
            await asyncio.wait(self._sampling.values(), timeout=settings.SAMPLE_SECONDS)

    async def settled(self) -> None:
        """Wait until every sample that was asked for has been recorded."""
        while running := [task for task in self._sampling.values() if not task.done()]:
            await asyncio.wait(running)

    async def _collect(self, host: Host) -> None:
        try:
            sample = await sample_now_async(host)
            if sample is not None:
                await sync_to_async(record_sample)(host, sample, self._known[host.pk])
        except Exception:
            log.exception("host %s could not be sampled", host.name)


def _sampled_hosts() -> list[Host]:
    hosts = Host.objects.filter(Q(is_local=True) | Q(pk__in=registered_hosts()))
    return [host for host in hosts if probe_of(host) is not None]
