"""Takes in what comes from agents, for all of them at a time: recorded, written, and only then said to be stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from django.db import transaction

from models_app.agent_link.inbox import Inbox
from models_app.agent_link.ingest import take_in, take_in_of_many
from models_app.agent_link.models import Agent
from models_app.agent_link.tasks import always, run_in
from models_app.telemetry import fresh
from models_app.telemetry.history.recorder import recorder

TAKE_IN_SECONDS = 0.1
"""Between two batches of samples, at least; what comes meanwhile goes in together."""
REST = 4
"""A batch rests this many times as long as it took, for much of its work is once a host, however many samples came …"""
LONGEST_REST_SECONDS = 4.0
"""… but no longer than this: while it rests, as much comes as it will have to take in."""
AT_ONCE = 250
"""Inboxes in one transaction: for so long others wait to write."""
REMEMBER_SECONDS = 0.5

Stored = Sequence[tuple[Inbox, int]]
"""Inboxes with the sequence up to which all that came is stored."""


class Intake:
    """The inboxes that are taken in on one event loop. ``tell_stored`` hears of what may be confirmed.

    ``are_many`` while they are of many hosts that report, or a part of them.
    """

    def __init__(self, tell_stored: Callable[[Stored], Awaitable[None]]) -> None:
        self.are_many = False
        self._inboxes: set[Inbox] = set()
        self._tell_stored = tell_stored
        self._tasks: list[asyncio.Task[None]] = []
        self._arrived, self._awaited = asyncio.Event(), asyncio.Event()
        self._history = ThreadPoolExecutor(max_workers=1, thread_name_prefix="berth-remember")
        self._samples = ThreadPoolExecutor(max_workers=1, thread_name_prefix="berth-samples")
        self._watched = ThreadPoolExecutor(max_workers=1, thread_name_prefix="berth-watched")

    def __len__(self) -> int:
        return len(self._inboxes)

    def add(self, inbox: Inbox) -> None:
        """Take in what comes there, from now on."""
        self._inboxes.add(inbox)
        if not self._tasks:
            work = (self._take_in, self._take_in_watched, self._remember)
            self._tasks = [asyncio.create_task(always(each)) for each in work]

    def remove(self, inbox: Inbox) -> None:
        """No longer. With the last one the tasks end."""
        self._inboxes.discard(inbox)
        if not self._inboxes:
            for task in self._tasks:
                task.cancel()
            self._tasks.clear()

    def arrived(self, inbox: Inbox) -> None:
        """There is news in it."""
        (self._awaited if inbox.is_watched else self._arrived).set()

    async def _take_in(self) -> None:
        """Record what has come."""
        began = time.monotonic()
        inboxes = [inbox for inbox in self._inboxes if inbox.has_news and not inbox.is_watched]
        for first in range(0, len(inboxes), AT_ONCE):
            await self._take(inboxes[first : first + AT_ONCE], self._samples, take_in_of_many)
        rest_seconds = min(REST * (time.monotonic() - began), LONGEST_REST_SECONDS)
        await asyncio.sleep(max(TAKE_IN_SECONDS, rest_seconds))
        if not any(inbox.has_news and not inbox.is_watched for inbox in self._inboxes):
            self._arrived.clear()
            await self._arrived.wait()

    async def _take_in_watched(self) -> None:
        """The same for hosts that somebody looks at, without a rest and in a thread of their own."""
        await self._awaited.wait()
        self._awaited.clear()
        inboxes = [inbox for inbox in self._inboxes if inbox.has_news and inbox.is_watched]
        await self._take(inboxes, self._watched, take_in)
        if self.are_many or all(fresh.is_wanted(inbox.host.pk) for inbox in inboxes):
            await asyncio.sleep(TAKE_IN_SECONDS)  # they are shown already: their rows can be written together

    async def _take(self, inboxes: list[Inbox], thread: ThreadPoolExecutor, work: Callable[..., int]) -> None:
        """One thread at a time is at an inbox: what comes meanwhile waits for the next time."""
        inboxes = [inbox for inbox in inboxes if not inbox.is_being_taken]
        if not inboxes:
            return
        batch = [inbox.reported() for inbox in inboxes]
        for inbox in inboxes:
            inbox.is_being_taken = True
        try:
            ticket = await run_in(thread, work, batch, are_many=self.are_many)
        except BaseException:
            for inbox, reported in zip(inboxes, batch, strict=True):
                inbox.take_back(reported)
            raise
        finally:
            for inbox in inboxes:
                inbox.is_being_taken = False
                if inbox.has_news:
                    self.arrived(inbox)
        for inbox, reported in zip(inboxes, batch, strict=True):
            if reported.samples:
                inbox.noted.append((ticket, reported.samples[-1].sequence))

    async def _remember(self) -> None:
        """Have it written, and say so. In a thread of its own: what is new does not wait for it."""
        await asyncio.sleep(REMEMBER_SECONDS)
        if not any(inbox.noted for inbox in self._inboxes):
            return
        await run_in(self._history, recorder.flush_when_due)
        stored: dict[Inbox, int] = {}
        for inbox in self._inboxes:
            while inbox.noted and recorder.is_written(inbox.noted[0][0]) and not inbox.owes(inbox.noted[0][1]):
                stored[inbox] = inbox.noted.popleft()[1]
        if stored:
            await run_in(self._history, _committed, list(stored.items()))
            await self._tell_stored(list(stored.items()))


def _committed(stored: Stored) -> None:
    """Write down what agents need not send again; nothing of a process of an agent that another one has followed."""
    found = {inbox.agent_id: (inbox.boot_id, sequence) for inbox, sequence in stored}
    with transaction.atomic():
        rows = list(Agent.objects.select_for_update().filter(pk__in=found).only("pk", "boot_id", "committed"))
        for row in rows:
            boot_id, sequence = found[row.pk]
            row.committed = max(row.committed, sequence) if row.boot_id == boot_id else row.committed
        Agent.objects.bulk_update(rows, ["committed"], batch_size=500)
