"""Remembers samples: collected in memory, written every few seconds, one row for each GPU and minute.

What was noted within the last ``FLUSH_SECONDS`` before the process is killed is lost, unless who sent it sends it again. A
sample that comes again changes nothing; a late one finds its place.

More than two hundred lines: what is noted, written and kept are the same minutes.
"""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from itertools import islice

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from models_app.inventory.models import Gpu, Host, LoadedModel
from models_app.probes.types import GpuState, HostSample
from models_app.telemetry.division import GpuShares, Shares
from models_app.telemetry.history.minutes import OWN, Columns, Minute, identities
from models_app.telemetry.history.series import figures_of, shares_row
from models_app.telemetry.history.store import DAY_SECONDS, MINUTE_SECONDS, floor, moment
from models_app.telemetry.history.tables import DamagedChunk, Table, joined, pack, unpack
from models_app.telemetry.models import SecondsChunk
from models_app.telemetry.precedence import precedence

log = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0
OVERDUE_SECONDS = 30.0
"""Where nobody calls ``flush``, noting does, unless somebody is at it."""
AT_ONCE = 500
"""Minutes in one transaction: others that write wait no longer than that."""
REST = 10
"""A flush rests this many times as long as it took, so that writing takes a tenth of a core at most …"""
LONGEST_REST_SECONDS = 30.0
"""… but no longer than this: each minute that begins meanwhile is one more to write for every GPU, and agents keep what is
not confirmed."""
AHEAD_SECONDS = 3600
"""A clock that is further ahead than this is wrong, and its samples are not remembered."""
MOST_MINUTES = 30
"""Of each GPU, in memory, while the database cannot be written."""

Place = tuple[int, str, int]
"""The host's id, the GPU's UUID, and the minute's start in seconds since the epoch."""


class Recorder:
    """Collects and writes the samples of one process. Safe from several threads."""

    def __init__(self) -> None:
        self._minutes: defaultdict[Place, Minute] = defaultdict(Minute)
        self._shares: dict[str, tuple[GpuShares, tuple[Columns, tuple[float, ...]]]] = {}
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._due = time.monotonic() + FLUSH_SECONDS
        self._begun = self._written = 0

    def ticket(self) -> int:
        """Whatever was noted until now is stored once ``is_written`` says so of this number."""
        return self._begun + 1

    def is_written(self, ticket: int) -> bool:
        """Whether a flush that began after the ``ticket`` was given has succeeded."""
        return self._written >= ticket

    def note(self, host: Host, sample: HostSample, shares: Shares, models: Iterable[LoadedModel]) -> None:
        """Remember a sample of a host; ``models`` are the rows that its shares speak of."""
        if not _is_plausible(sample.taken_at):
            return
        at = round(sample.taken_at.timestamp(), 3)
        minute = floor(at, MINUTE_SECONDS)
        identity = (float(zlib.crc32(sample.boot_id.encode())), float(sample.sequence))
        with self._lock:
            for gpu in sample.gpus:
                if gpu.state is GpuState.OK:
                    columns, held = self._held(gpu.uuid, shares, models)
                    self._minutes[host.pk, gpu.uuid, minute].add(at, columns, (*identity, *figures_of(gpu), *held))
        if time.monotonic() > self._due + OVERDUE_SECONDS and not self._flushing.locked():
            self.flush()

    def _held(self, uuid: str, shares: Shares, models: Iterable[LoadedModel]) -> tuple[Columns, tuple[float, ...]]:
        """All columns, and whose the bytes are: made anew only for shares that are not those of the sample before."""
        of_gpu = shares.get(uuid)
        if of_gpu is None:
            return OWN, ()
        known = self._shares.get(uuid)
        if known is None or known[0] is not of_gpu:
            row = shares_row(of_gpu, {row.pk: row for row in models})
            known = self._shares[uuid] = of_gpu, ((*OWN, *row), tuple(row.values()))
        return known[1]

    def flush_when_due(self) -> None:
        """``flush``, unless it is too soon after the last."""
        if time.monotonic() >= self._due:
            self.flush()

    def flush(self) -> None:
        """Write what was noted. What cannot be written is kept for the next time. Raises ``DatabaseError``."""
        with self._flushing:
            spent_seconds = 0.0
            self._begun += 1
            taken = self._taken()
            try:
                while taken:
                    part = dict(islice(taken.items(), AT_ONCE))
                    with precedence.turn():
                        took_seconds = self._write(part)
                    taken = {place: minute for place, minute in taken.items() if place not in part}
                    spent_seconds += took_seconds
                    if taken:
                        time.sleep(took_seconds)  # who waits for SQLite's one lock looks for it only now and then
                self._written = self._begun
            finally:
                self._keep(taken)
                self._forget()
                self._due = time.monotonic() + max(FLUSH_SECONDS, min(REST * spent_seconds, LONGEST_REST_SECONDS))

    def _keep(self, taken: Iterable[Place]) -> None:
        """These are still to be written."""
        with self._lock:
            for place in taken:
                self._minutes[place].is_dirty = True

    def _taken(self) -> dict[Place, Minute]:
        """Copies of what is dirty, so that samples can be noted while it is written."""
        with self._lock:
            dirty = {place: minute for place, minute in self._minutes.items() if minute.is_dirty}
            for minute in dirty.values():
                minute.is_dirty = False
            return {place: minute.copy() for place, minute in dirty.items()}

    def _write(self, taken: dict[Place, Minute]) -> float:
        """Write these; the seconds that it took."""
        began = time.monotonic()
        written, homeless = _write(taken)
        with self._lock:
            for place, payload in written.items():
                self._minutes[place].written = payload
        self._keep(homeless)
        return time.monotonic() - began

    def _forget(self) -> None:
        """Minutes that are over and written; and, where writing fails for long, the oldest."""
        now = time.monotonic()
        with self._lock:
            for place, minute in list(self._minutes.items()):
                if now - minute.since > (MOST_MINUTES if minute.is_dirty else 2) * MINUTE_SECONDS:
                    del self._minutes[place]
            present = {uuid for _, uuid, _ in self._minutes}
            self._shares = {uuid: kept for uuid, kept in self._shares.items() if uuid in present}


def _is_plausible(taken_at: datetime) -> bool:
    age_seconds = (timezone.now() - taken_at).total_seconds()
    return -AHEAD_SECONDS < age_seconds < settings.HISTORY_1MIN_DAYS * DAY_SECONDS


def _write(taken: dict[Place, Minute]) -> tuple[dict[Place, bytes], set[Place]]:
    """Write minutes in one statement. Returns the payloads of those whose rows now hold just these samples.

    And the places of GPUs that have no row, perhaps because the transaction that makes it has not ended yet.
    """
    gpus = {(gpu.host_id, gpu.uuid): gpu.pk for gpu in Gpu.objects.filter(uuid__in={uuid for _, uuid, _ in taken})}
    ids = {place: gpus[place[:2]] for place in sorted(taken) if place[:2] in gpus}
    with transaction.atomic():
        stored = _stored(ids)
        before = {place: stored.get((ids[place], place[2]), b"") for place in ids}
        payloads = {place: _payload(taken[place], before[place], place[2]) for place in ids}
        SecondsChunk.objects.bulk_create(
            [
                SecondsChunk(gpu_id=ids[place], starts_at=moment(place[2]), payload=payload)
                for place, payload in payloads.items()
                if payload != before[place]
            ],
            batch_size=500,
            update_conflicts=True,
            unique_fields=["gpu", "starts_at"],
            update_fields=["payload", "pending"],
        )
    complete = {place: payload for place, payload in payloads.items() if before[place] == taken[place].written}
    return complete, taken.keys() - ids.keys()


def _stored(ids: dict[Place, int]) -> dict[tuple[int, int], bytes]:
    minutes = {moment(place[2]) for place in ids}
    rows = SecondsChunk.objects.filter(gpu_id__in=set(ids.values()), starts_at__in=minutes).order_by("pk")
    return {(row.gpu_id, round(row.starts_at.timestamp())): bytes(row.payload) for row in rows.select_for_update()}


def _payload(minute: Minute, stored: bytes, start: int) -> bytes:
    """This process's samples, together with those that the row holds from before its start or from another process."""
    seconds = minute.seconds
    if stored == minute.written:
        return pack(seconds.ordered(), start)
    there = _readable(stored, start)
    known = identities(there)
    news = [row for row, identity in enumerate(identities(seconds)) if identity not in known]
    return pack(joined([there, seconds.chosen(news)]).ordered(), start) if news else stored


def _readable(stored: bytes, start: int) -> Table:
    try:
        return unpack(stored, start)
    except DamagedChunk:
        log.error("the chunk of a GPU at %s was damaged and is written anew", moment(start))
        return Table()


recorder = Recorder()
"""The recorder of this process."""
