"""One switchboard in each web process: the lines that are open there, what they bring in, and what goes out over them.

Its database work is done for all lines at a time, each kind in a thread of its own. Words of other processes come over the
channel layer; those that are lost are made up for by looking at the rows every second.

More than two hundred lines: five tasks over the same lines are one thing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

from channels.layers import get_channel_layer
from django.db import close_old_connections
from django.utils import timezone

from models_app import live
from models_app.agent.messages import Cancel, CloseCode, Message, Settled
from models_app.agent_link import commands
from models_app.agent_link.door import COMMANDS, GROUP, WATCHED, WATCHED_SECONDS, hold
from models_app.agent_link.ingest import preview, take_in, take_in_of_many
from models_app.agent_link.line import Line
from models_app.agent_link.models import Agent
from models_app.probes.types import HostSample
from models_app.telemetry import fresh
from models_app.telemetry.history.recorder import recorder
from models_app.telemetry.newest import MANY
from models_app.telemetry.precedence import precedence

log = logging.getLogger(__name__)

TAKE_IN_SECONDS = 0.1
"""Between two batches of samples, at least; what comes meanwhile goes in together."""
REST = 2
"""A batch rests this many times as long as it took …"""
LONGEST_REST_SECONDS = 4.0
"""… but no longer than this: while it rests, as much comes as it will have to take in."""
AT_ONCE = 250
"""Lines in one transaction: for so long others wait to write."""
REMEMBER_SECONDS = 0.5
TOLD_AT_ONCE = 10
"""Agents that hear of what is stored in one turn of the event loop: others wait so long for it."""
GATHER_SECONDS = 1.0
"""With many lines, agents send two samples in a message, which costs little more than one."""
LOOK_SECONDS = 1.0
SEEN_SECONDS = 2.0
RESUBSCRIBE_SECONDS = 3600

P = ParamSpec("P")
T = TypeVar("T")


class Switchboard:
    """The open lines of one event loop; its tasks run while there is one."""

    def __init__(self) -> None:
        self.lines: dict[int, Line] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._arrived, self._awaited = asyncio.Event(), asyncio.Event()
        self._gone: set[int] = set()
        self._seen_due = 0.0
        self._rows = ThreadPoolExecutor(max_workers=1, thread_name_prefix="berth-agents")
        self._history = ThreadPoolExecutor(max_workers=1, thread_name_prefix="berth-remember")
        self._samples = ThreadPoolExecutor(max_workers=1, thread_name_prefix="berth-samples")
        self._watched = ThreadPoolExecutor(max_workers=1, thread_name_prefix="berth-watched")
        self._shown = ThreadPoolExecutor(max_workers=1, thread_name_prefix="berth-shown")

    async def join(self, line: Line) -> None:
        """Serve a line from now on; an earlier one of the same agent closes."""
        before = self.lines.get(line.agent_id)
        self.lines[line.agent_id] = line
        hold(line.agent_id, is_open=True)
        if not self._tasks:
            live.use_loop(asyncio.get_running_loop())
            work = (self._listen, self._relay, self._take_in, self._take_in_watched, self._remember)
            self._tasks = [asyncio.create_task(self._always(each)) for each in work]
        if before is not None:
            await before.close(CloseCode.REPLACED)
        if len(self.lines) > MANY:
            await self._tell(line, line.commit(line.committed, GATHER_SECONDS))
        self._wake.set()

    def leave(self, line: Line) -> None:
        """Forget a line. With the last one the switchboard rests."""
        if self.lines.get(line.agent_id) is line:
            del self.lines[line.agent_id]
            hold(line.agent_id, is_open=False)
        if not self.lines:
            for task in self._tasks:
                task.cancel()
            self._tasks.clear()

    def arrived(self, line: Line) -> None:
        """A line has news."""
        if line.is_watched and line.newest is not None and fresh.is_wanted(line.host.pk):
            self._show(line, line.newest)
        (self._awaited if line.is_watched else self._arrived).set()

    def _show(self, line: Line, sample: HostSample) -> None:
        """Show it before it is taken in, in a thread that waits for nothing; others give way meanwhile."""
        line.newest = None
        urgent = precedence.begin()
        showing = asyncio.ensure_future(self._run(self._shown, preview, line.host, sample, line.memory))
        showing.add_done_callback(partial(_shown, urgent))

    async def in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Database work, in turn."""
        return await self._run(self._rows, work, *args, **kwargs)

    async def _run(self, thread: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def with_connection() -> T:
            close_old_connections()
            try:
                return work(*args, **kwargs)
            finally:
                close_old_connections()

        return await asyncio.get_running_loop().run_in_executor(thread, with_connection)

    async def _always(self, turn: Callable[[], Any]) -> None:
        while True:
            try:
                await turn()
            except Exception:
                log.exception("the agents' switchboard failed; it goes on in a second")
                await asyncio.sleep(1)

    # ── words of other processes ─────────────────────────────────────────────

    async def _listen(self) -> None:
        layer: Any = get_channel_layer()
        try:
            channel = await layer.new_channel(GROUP)
            await layer.group_add(GROUP, channel)
            async with asyncio.timeout(RESUBSCRIBE_SECONDS):
                while True:
                    self._hear(await layer.receive(channel))
        except TimeoutError:
            await layer.group_discard(GROUP, channel)
        except live.UNREACHABLE as error:
            log.warning("channel layer unreachable, the rows are looked at instead: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] == WATCHED:
            self._watch(message["host"])
        elif message["agent"] in self.lines:
            if message["type"] != COMMANDS:
                self._gone.add(message["agent"])
            self._wake.set()

    def _watch(self, host_id: int) -> None:
        """The host's samples are to come one by one, and at once."""
        for line in self.lines.values():
            if line.host.pk == host_id:
                was_watched = line.is_watched
                line.memory.known.watched_until = time.monotonic() + WATCHED_SECONDS
                if not was_watched:
                    self._awaited.set()
                    self._said = asyncio.ensure_future(self._tell(line, line.commit(line.committed, 0.0)))

    # ── going out ────────────────────────────────────────────────────────────

    async def _relay(self) -> None:
        """Send what is due, when somebody says so and every second."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            self._gone |= self.lines.keys()
        self._wake.clear()
        await self._hang_up()
        lines = dict(self.lines)
        asks, cancels = await self.in_thread(_due, {agent_id: line.boot_id for agent_id, line in lines.items()})
        for agent_id, ask in asks:
            await self._tell(lines[agent_id], ask)
        for agent_id, command_id in cancels:
            await self._tell(lines[agent_id], Cancel(command_id))
        if time.monotonic() >= self._seen_due:
            self._seen_due = time.monotonic() + SEEN_SECONDS
            heard = [agent_id for agent_id, line in lines.items() if time.monotonic() - line.heard_at < 2 * SEEN_SECONDS]
            await self.in_thread(_seen, heard)

    async def _hang_up(self) -> None:
        """Close the lines that do not speak for their agents any more."""
        gone, self._gone = self._gone, set()
        suspects = [self.lines[agent_id] for agent_id in gone if agent_id in self.lines]
        if not suspects:
            return
        speaking = await self.in_thread(_speaking)
        for line in suspects:
            connection = speaking.get(line.agent_id)
            if connection != line.connection:
                await line.close(CloseCode.REPLACED if connection else CloseCode.REFUSED)

    async def _tell(self, line: Line, message: Message) -> None:
        try:
            await line.send(message)
        except (OSError, RuntimeError):
            log.debug("the agent of %s has gone", line.host)

    async def settled(self, line: Line, command_id: int) -> None:
        """The end of a command is stored."""
        await self._tell(line, Settled(command_id))

    # ── coming in ────────────────────────────────────────────────────────────

    async def _take_in(self) -> None:
        """Record what has come, and say of what is stored that it is."""
        began = time.monotonic()
        lines = [line for line in self.lines.values() if line.has_news and not line.is_watched]
        for first in range(0, len(lines), AT_ONCE):
            await self._take(lines[first : first + AT_ONCE], self._samples, take_in_of_many)
        rest_seconds = min(REST * (time.monotonic() - began), LONGEST_REST_SECONDS)
        await asyncio.sleep(max(TAKE_IN_SECONDS, rest_seconds))
        if not any(line.has_news and not line.is_watched for line in self.lines.values()):
            self._arrived.clear()
            await self._arrived.wait()

    async def _take_in_watched(self) -> None:
        """The same for hosts that somebody looks at, without a rest and in a thread of their own."""
        await self._awaited.wait()
        self._awaited.clear()
        lines = [line for line in self.lines.values() if line.has_news and line.is_watched]
        await self._take(lines, self._watched, take_in)
        if all(fresh.is_wanted(line.host.pk) for line in lines):
            await asyncio.sleep(TAKE_IN_SECONDS)  # they are shown already: their rows can be written together

    async def _take(self, lines: list[Line], thread: ThreadPoolExecutor, work: Callable[..., int]) -> None:
        """One thread at a time is at a line: what comes meanwhile waits for the next time."""
        lines = [line for line in lines if not line.is_being_taken]
        if not lines:
            return
        batch = [line.reported() for line in lines]
        for line in lines:
            line.is_being_taken = True
        try:
            ticket = await self._run(thread, work, batch, are_many=len(self.lines) > MANY)
        except BaseException:
            for line, reported in zip(lines, batch, strict=True):
                line.take_back(reported)
            raise
        finally:
            for line in lines:
                line.is_being_taken = False
                if line.has_news:
                    self.arrived(line)
        for line, reported in zip(lines, batch, strict=True):
            if reported.samples:
                line.noted.append((ticket, reported.samples[-1].sequence))

    async def _remember(self) -> None:
        """Have it written, and say so. In a thread of its own: what is new does not wait for it."""
        await asyncio.sleep(REMEMBER_SECONDS)
        if not any(line.noted for line in self.lines.values()):
            return
        await self._run(self._history, recorder.flush_when_due)
        stored: dict[int, int] = {}
        for line in self.lines.values():
            while line.noted and recorder.is_written(line.noted[0][0]) and not line.owes(line.noted[0][1]):
                stored[line.agent_id] = line.noted.popleft()[1]
        if stored:
            await self._run(self._history, _committed, stored)
            gather_seconds = GATHER_SECONDS if len(self.lines) > MANY else 0.0
            for told, (agent_id, sequence) in enumerate(stored.items()):
                if open_line := self.lines.get(agent_id):
                    await self._tell(open_line, open_line.commit(sequence, gather_seconds))
                if told % TOLD_AT_ONCE == 0:
                    await asyncio.sleep(0)


def _shown(urgent: int, showing: asyncio.Future[None]) -> None:
    precedence.end(urgent)
    if not showing.cancelled() and (error := showing.exception()):
        log.error("a sample could not be shown, it comes with its row", exc_info=error)


def _due(agents: dict[int, str]) -> tuple[list[Any], list[tuple[int, int]]]:
    return commands.take_due(agents), commands.to_cancel(agents)


def _seen(agent_ids: list[int]) -> None:
    Agent.objects.filter(pk__in=agent_ids).update(last_seen_at=timezone.now())


def _speaking() -> dict[int, str]:
    """Of all agents: a thousand ids in a query cost more than a thousand rows."""
    return dict(Agent.objects.filter(revoked_at=None).order_by().values_list("pk", "connection"))


def _committed(stored: dict[int, int]) -> None:
    rows = list(Agent.objects.filter(pk__in=stored).only("pk", "committed"))
    for row in rows:
        row.committed = stored[row.pk]
    Agent.objects.bulk_update(rows, ["committed"], batch_size=500)


_switchboards: dict[asyncio.AbstractEventLoop, Switchboard] = {}


def switchboard() -> Switchboard:
    """The switchboard of the running event loop: one in a web process."""
    loop = asyncio.get_running_loop()
    if loop not in _switchboards:
        for closed in [known for known in _switchboards if known.is_closed()]:
            del _switchboards[closed]
        _switchboards[loop] = Switchboard()
    return _switchboards[loop]
