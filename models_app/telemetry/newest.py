"""The newest samples of many hosts, written in a few statements, however many there are.

What a recorder knows of a host's rows it keeps in ``Known`` from one time to the next, and looks at the rows again every
``TRUST_SECONDS``: most samples describe the same GPUs as the one before.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from django.db.models import OuterRef, Subquery

from models_app.inventory.models import Host, LoadedModel
from models_app.live import Topic, publish
from models_app.probes.types import GpuState, HostSample
from models_app.telemetry import fresh
from models_app.telemetry.division import By
from models_app.telemetry.gpus import record_gpus
from models_app.telemetry.known import Newest
from models_app.telemetry.models import LatestSample

MANY = 50
"""Hosts that report at once: with more, rows and sparklines take turns."""
RINGS_AT_ONCE = 20
"""Sparklines in one transaction where there are many."""
LAG_SECONDS = 2.0
"""Of a row, while there are many and the sample describes the same GPUs in the same state."""
LEAST_CHANGE_BYTES = 1024**2
"""A model's bytes are rewritten only when they changed by more than this on some GPU."""
TRUST_SECONDS = 60.0


def store_newest(items: Sequence[Newest], *, are_many: bool = False) -> int:
    """Write the samples that are newer than their hosts' rows; how many are. To be called within a transaction.

    ``are_many``: these are a part of more than ``MANY``.
    """
    are_many = are_many or len(items) > MANY
    due = [item for item in items if not are_many or _is_due(item)]
    _read([item for item in due if item.known.recent is None])
    newer = [item for item in due if item.known.is_news(item.sample)]
    for item in newer:
        item.known.remember(item.sample)
    _write(newer, RINGS_AT_ONCE if are_many else len(newer))
    fresh.tell({item.host.pk: item.latest for item in newer})
    changed = [_describe(item) for item in newer]
    if any(changed):
        publish(Topic.INVENTORY)
    for item in newer:
        _record_model_bytes(item)
    return len(newer)


def _record_host(host: Host, sample: HostSample) -> bool:
    """Whether something visible of the host itself has changed."""
    described = {"driver_version": sample.driver_version[:40], "gpu_problem": sample.nvml_problem}
    return bool(Host.objects.filter(pk=host.pk).exclude(**described).update(**described))


def _record_model_bytes(item: Newest) -> None:
    """What the models hold by their processes, or else by their endpoint's claim. A measured rise is left alone.

    So is what was known of a GPU that does not answer now.
    """
    silent = {gpu.uuid for gpu in item.sample.gpus if gpu.state is not GpuState.OK}
    for row in item.models:
        found = {uuid: gpu.models[row.pk] for uuid, gpu in item.shares.items() if row.pk in gpu.models}
        by = next((share.by for share in found.values()), By.PROCESS if row.attributed_by == By.PROCESS else None)
        known = {uuid: count_bytes for uuid, count_bytes in row.gpu_bytes.items() if uuid in silent}
        gpu_bytes = known | {uuid: share.bytes for uuid, share in found.items()}
        if by in (By.PROCESS, By.ENDPOINT) and (row.attributed_by != by or _differs(row.gpu_bytes, gpu_bytes)):
            as_read = LoadedModel.objects.filter(pk=row.pk, attributed_by=row.attributed_by)
            if as_read.update(gpu_bytes=gpu_bytes, attributed_by=by):
                row.gpu_bytes, row.attributed_by = gpu_bytes, by


def _read(items: Iterable[Newest]) -> None:
    """Take up what the rows hold, where this was not done before; who records a host records it alone."""
    unknown = {item.host.pk: item.known for item in items}
    for known in unknown.values():
        known.recent = {}
    if unknown:
        for row in LatestSample.objects.filter(host__in=unknown).defer("payload"):
            known = unknown[row.host_id]
            known.recent, known.boot_id, known.sequence, known.taken_at = (
                row.recent,
                row.boot_id,
                row.sequence,
                row.taken_at,
            )


def _is_due(item: Newest) -> bool:
    """Whether its row is to be written at once; if not, its ring gets the point now."""
    now = time.monotonic()
    is_same = _description(item.sample) == item.known.described
    if is_same and now - item.known.written < LAG_SECONDS and now >= item.known.watched_until:
        item.known.remember(item.sample)
        return False
    return True


def _write(newer: Sequence[Newest], rings: int) -> None:
    """A row each; as many rings, of those that have waited longest."""
    in_turn = sorted(newer, key=lambda item: item.known.recent_written)
    rows = [
        LatestSample(
            host_id=item.host.pk,
            boot_id=item.sample.boot_id,
            sequence=item.sample.sequence,
            taken_at=item.sample.taken_at,
            payload=item.packed(),
            recent=item.known.recent,
        )
        for item in in_turn
    ]
    columns = ["boot_id", "sequence", "taken_at", "payload"]
    _upsert(rows[:rings], [*columns, "recent"])
    _upsert(rows[rings:], columns)
    for item in in_turn[:rings]:
        item.known.recent_written = time.monotonic()
    for item in in_turn:
        item.known.written = time.monotonic()
    latest = LatestSample.objects.filter(host=OuterRef("pk")).values("taken_at")
    Host.objects.filter(pk__in=[item.host.pk for item in newer]).update(last_sample_at=Subquery(latest))


def _upsert(rows: list[LatestSample], columns: list[str]) -> None:
    LatestSample.objects.bulk_create(rows, update_conflicts=True, unique_fields=["host"], update_fields=columns)


def _describe(item: Newest) -> bool:
    """Make the rows of the host and its GPUs say what the sample says of them; whether something changed."""
    described = _description(item.sample)
    if described == item.known.described and time.monotonic() < item.known.trusted_until:
        return False
    changed = record_gpus(item.host, item.sample) | _record_host(item.host, item.sample)
    item.known.described, item.known.trusted_until = described, time.monotonic() + TRUST_SECONDS
    return changed


def _description(sample: HostSample) -> object:
    gpus = [
        (gpu.uuid, gpu.index, gpu.name, gpu.state, gpu.reason, gpu.pool, gpu.total_bytes, gpu.driver_reserved_bytes)
        for gpu in sample.gpus
    ]
    return gpus, sample.driver_version, sample.nvml_problem


def _differs(before: dict[str, int], after: dict[str, int]) -> bool:
    return any(abs(before.get(uuid, 0) - after.get(uuid, 0)) > LEAST_CHANGE_BYTES for uuid in before.keys() | after)
