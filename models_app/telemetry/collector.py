"""Writes samples down: the newest of each host, and the GPUs as the samples describe them."""

from __future__ import annotations

import asyncio
import logging

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import transaction

from models_app.inventory.models import Host, LoadedModel
from models_app.live import Topic, publish
from models_app.probes.types import GpuSample, GpuState, HostSample
from models_app.telemetry.attribution import By, Shares, shares_of
from models_app.telemetry.gpus import record_gpus
from models_app.telemetry.history.recorder import recorder
from models_app.telemetry.models import LatestSample
from models_app.telemetry.samples import encode, encode_shares
from models_app.telemetry.sources import probe_of, sample_now_async

log = logging.getLogger(__name__)

RECENT_POINTS = 150
LEAST_CHANGE_BYTES = 1024**2
"""A model's bytes are rewritten only when they changed by more than this on some GPU."""


def record_sample(host: Host, sample: HostSample) -> bool:
    """Make the rows say what the sample shows; false for one that was recorded before or comes too late for them.

    The memory takes every sample, whenever it comes, and each once.
    """
    before = LatestSample.objects.filter(host=host).first()
    rows = list(LoadedModel.objects.filter(endpoint__host=host))
    shares = shares_of(host, sample, rows)
    recorder.note(host, sample, shares, rows)
    with transaction.atomic():
        if not store_latest(host, sample, shares, before, rows):
            return False
        publish(Topic.TELEMETRY, host.pk)
    return True


def store_latest(
    host: Host, sample: HostSample, shares: Shares, before: LatestSample | None, rows: list[LoadedModel]
) -> bool:
    """Write the sample down as the host's newest; false where ``before``, or another recorder's, is newer."""
    if before is not None and not _is_newer(sample, before):
        return False
    if not _store(host, sample, shares, before):
        return False
    if record_gpus(host, sample) | _record_host(host, sample):
        publish(Topic.INVENTORY)
    _record_model_bytes(rows, shares)
    return True


def _is_newer(sample: HostSample, before: LatestSample) -> bool:
    """By its time; within one boot also by its sequence, for a clock may be set back."""
    is_next = sample.boot_id == before.boot_id and sample.sequence > before.sequence
    return is_next or sample.taken_at > before.taken_at


def _store(host: Host, sample: HostSample, shares: Shares, before: LatestSample | None) -> bool:
    """Whether the row was written; another recorder with a newer sample wins."""
    columns = {
        "boot_id": sample.boot_id,
        "sequence": sample.sequence,
        "taken_at": sample.taken_at,
        "payload": encode(sample) | {"shares": encode_shares(shares)},
        "recent": _recent(sample, before),
    }
    if before is None:
        return LatestSample.objects.get_or_create(host=host, defaults=columns)[1]
    as_read = LatestSample.objects.filter(host=host, boot_id=before.boot_id, sequence=before.sequence)
    return bool(as_read.update(**columns))


def _recent(sample: HostSample, before: LatestSample | None) -> dict[str, list[int]]:
    """The ring of used bytes by GPU: one point a period, so a further sample within it replaces the last point."""
    period_seconds = settings.SAMPLE_SECONDS
    silence_seconds = (sample.taken_at - before.taken_at).total_seconds() if before else 0
    points = before.recent if before and silence_seconds < RECENT_POINTS * period_seconds else {}
    period = sample.taken_at.timestamp() // period_seconds
    is_same_period = before is not None and before.taken_at.timestamp() // period_seconds == period
    return {
        gpu.uuid: _with_point(points.get(gpu.uuid, []), gpu, replace_last=is_same_period)
        for gpu in sample.gpus
        if gpu.uuid in points or gpu.state is GpuState.OK
    }


def _with_point(points: list[int], gpu: GpuSample, *, replace_last: bool) -> list[int]:
    if gpu.state is not GpuState.OK:
        return points
    return [*(points[:-1] if replace_last else points), gpu.used_bytes][-RECENT_POINTS:]


def _record_host(host: Host, sample: HostSample) -> bool:
    """Whether something visible has changed."""
    described = {"driver_version": sample.driver_version[:40], "gpu_problem": sample.nvml_problem}
    row = Host.objects.filter(pk=host.pk)
    row.update(last_sample_at=sample.taken_at)
    return bool(row.exclude(**described).update(**described))


def _record_model_bytes(rows: list[LoadedModel], shares: Shares) -> None:
    """What the models hold by their processes, or else by their endpoint's claim. A measured rise is left alone."""
    for row in rows:
        found = {uuid: gpu.models[row.pk] for uuid, gpu in shares.items() if row.pk in gpu.models}
        by = next((share.by for share in found.values()), By.PROCESS if row.attributed_by == By.PROCESS else None)
        gpu_bytes = {uuid: share.bytes for uuid, share in found.items()}
        if by in (By.PROCESS, By.ENDPOINT) and (row.attributed_by != by or _differs(row.gpu_bytes, gpu_bytes)):
            as_read = LoadedModel.objects.filter(pk=row.pk, attributed_by=row.attributed_by)
            as_read.update(gpu_bytes=gpu_bytes, attributed_by=by)


def _differs(before: dict[str, int], after: dict[str, int]) -> bool:
    return any(abs(before.get(uuid, 0) - after.get(uuid, 0)) > LEAST_CHANGE_BYTES for uuid in before.keys() | after)


class Collector:
    """Samples every host that has a probe in this process; a slow host delays no other."""

    def __init__(self) -> None:
        self._sampling: dict[int, asyncio.Task[None]] = {}

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
                await sync_to_async(record_sample)(host, sample)
        except Exception:
            log.exception("host %s could not be sampled", host.name)


def _sampled_hosts() -> list[Host]:
    return [host for host in Host.objects.all() if probe_of(host) is not None]
