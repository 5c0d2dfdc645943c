"""Shows a sample before it is taken in, by what is known of its host."""

from __future__ import annotations

import time
from dataclasses import replace

from django.utils import timezone

from models_app.agent_link.inbox import Inbox
from models_app.agent_link.ingest import Reported, is_plausible, read_rows
from models_app.agent_link.memory import Memory
from models_app.inventory.models import Gpu, Host
from models_app.probes.types import HostSample
from models_app.telemetry.known import Newest
from models_app.telemetry.models import LatestSample
from models_app.telemetry.samples import unpack
from models_app.telemetry.showing import show


def preview(host: Host, sample: HostSample, memory: Memory) -> None:
    """Show a sample that was not taken in yet. What nobody has vouched for is not shown."""
    now = timezone.now()
    if memory.is_own({gpu.uuid for gpu in sample.gpus}, 0.0) and is_plausible(sample, now):
        memory.hear(sample)
        sample = replace(sample, taken_at=min(sample.taken_at, now))
        show(Newest(host, sample, memory.shares(host, sample), memory.models, memory.known, memory.details))


def preview_apart(inbox: Inbox, sample: HostSample) -> None:
    """The same where another process takes it in: what is known are the rows, read again when they may have changed."""
    if time.monotonic() >= inbox.memory.rows_until:
        _recall(inbox)
    preview(inbox.host, sample, inbox.memory)


def _recall(inbox: Inbox) -> None:
    """Know what the rows say of the host. Its GPUs are those that it was believed to have."""
    memory, host = inbox.memory, inbox.host
    read_rows([Reported(inbox.agent_id, host, (), memory)], are_many=True)
    memory.own = frozenset(Gpu.objects.filter(host=host, present=True).values_list("uuid", flat=True))
    memory.looked = time.monotonic()
    row = LatestSample.objects.filter(host=host).first()
    if row is not None:
        known = memory.known
        known.recent, known.boot_id, known.sequence, known.taken_at = row.recent, row.boot_id, row.sequence, row.taken_at
        memory.hear(unpack(bytes(row.payload))[0])
