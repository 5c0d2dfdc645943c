"""One switchboard in each web process: the lines that are open there, where what they bring is taken in, what goes out.

What the first lines bring is taken in here, further ones by a process beside this one. Database work is done for all lines
at a time. Words of other processes come over the channel layer; those that are lost are made up for by looking at the rows
every second.

More than two hundred lines: both directions are one thing to whoever holds the lines.
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
from django.utils import timezone

from models_app import live
from models_app.agent.messages import Cancel, CloseCode, Message, Observed, Samples, Settled, unpack
from models_app.agent_link import commands
from models_app.agent_link.apart import Apart
from models_app.agent_link.door import COMMANDS, GROUP, WATCHED, WATCHED_SECONDS, hold
from models_app.agent_link.intake import Intake, Stored
from models_app.agent_link.line import Line
from models_app.agent_link.models import Agent
from models_app.agent_link.preview import preview, preview_apart
from models_app.agent_link.tasks import always, run_in
from models_app.agent_link.words import Happened, Refused, ToPanel
from models_app.agent_link.words import Stored as SaidToBeStored
from models_app.telemetry import fresh
from models_app.telemetry.newest import MANY
from models_app.telemetry.precedence import precedence

log = logging.getLogger(__name__)

LINES_HERE = MANY
"""Whose samples are taken in by this process; those of further ones by the process beside it."""
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
        self._intake, self._apart = Intake(self._tell_stored), Apart(self._hear_apart)
        self._tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._gone: set[int] = set()
        self._looked_at: set[Line] = set()
        self._seen_due = 0.0
        self._rows = ThreadPoolExecutor(max_workers=1, thread_name_prefix="berth-agents")
        self._shown = ThreadPoolExecutor(max_workers=1, thread_name_prefix="berth-shown")

    async def join(self, line: Line) -> None:
        """Serve a line from now on; an earlier one of the same agent closes."""
        before = self.lines.get(line.agent_id)
        if before is not None:
            self._part_with(before)
        self.lines[line.agent_id] = line
        hold(line.agent_id, is_open=True)
        if not self._tasks:
            live.use_loop(asyncio.get_running_loop())
            live.listen(self._look_again)
            self._tasks = [asyncio.create_task(always(each)) for each in (self._listen, self._relay)]
        if len(self._intake) < LINES_HERE or not self._apart.add(line):
            self._intake.add(line)
        self._intake.are_many = len(self.lines) > MANY
        if before is not None:
            await before.close(CloseCode.REPLACED)
        if len(self.lines) > MANY:
            await self._tell(line, line.commit(line.committed, GATHER_SECONDS))
        self._wake.set()

    def leave(self, line: Line) -> None:
        """Forget a line. With the last one the switchboard rests."""
        self._part_with(line)
        if self.lines.get(line.agent_id) is line:
            del self.lines[line.agent_id]
            hold(line.agent_id, is_open=False)
        if not self.lines:
            for task in self._tasks:
                task.cancel()
            self._tasks.clear()
            live.unlisten(self._look_again)
            self._apart.stop()

    def _part_with(self, line: Line) -> None:
        """Nothing more of it is taken in."""
        self._intake.remove(line)
        self._apart.remove(line)
        self._looked_at.discard(line)

    def arrived(self, line: Line) -> None:
        """A line has news."""
        if line.is_watched and line.newest is not None and fresh.is_wanted(line.host.pk):
            newest, line.newest = line.newest, None
            self._show(preview, line.host, newest, line.memory)
        self._intake.arrived(line)

    def pass_on(self, line: Line, text: str) -> None:
        """Have a report taken in by the process beside this one. Raises ``Malformed`` where it is to be shown here."""
        self._apart.said(line, text)
        if line.is_watched and fresh.is_wanted(line.host.pk):
            message = unpack(text, Samples, Observed)
            if isinstance(message, Samples) and message.items:
                self._show(preview_apart, line, message.items[-1])

    def _show(self, work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Show a sample before it is taken in, in a thread that waits for nothing; others give way meanwhile."""
        urgent = precedence.begin()
        showing = asyncio.ensure_future(run_in(self._shown, work, *args, **kwargs))
        showing.add_done_callback(partial(_shown, urgent))

    def _look_again(self, event: live.Event) -> None:
        """An endpoint has changed: what is known of it for a preview is old."""
        if event.topic is live.Topic.INVENTORY:
            for line in self._looked_at:
                if any(endpoint.pk == event.object_id for endpoint in line.memory.endpoints):
                    line.memory.rows_until = 0.0

    async def in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Database work, in turn."""
        return await run_in(self._rows, work, *args, **kwargs)

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
                line.watch(WATCHED_SECONDS)
                if line.is_apart:
                    self._looked_at.add(line)
                    self._apart.watched(line, WATCHED_SECONDS)
                if not was_watched:
                    self._intake.arrived(line)
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

    # ── stored ───────────────────────────────────────────────────────────────

    async def _tell_stored(self, stored: Stored) -> None:
        """Agents may forget what is stored."""
        gather_seconds = GATHER_SECONDS if len(self.lines) > MANY else 0.0
        for told, (line, sequence) in enumerate(stored):
            if isinstance(line, Line) and self.lines.get(line.agent_id) is line:
                await self._tell(line, line.commit(sequence, gather_seconds))
            if told % TOLD_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _hear_apart(self, word: ToPanel) -> None:
        """What the process beside this one says."""
        match word:
            case SaidToBeStored():
                lines = self._apart.lines
                await self._tell_stored([(lines[at], sequence) for at, sequence in word.sequences.items() if at in lines])
            case Refused() if word.line in self._apart.lines:
                await self._apart.lines[word.line].close(word.code)
            case Happened():
                live.repeat(live.Event(live.Topic(word.topic), word.object_id, word.revision))


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


_switchboards: dict[asyncio.AbstractEventLoop, Switchboard] = {}


def switchboard() -> Switchboard:
    """The switchboard of the running event loop: one in a web process."""
    loop = asyncio.get_running_loop()
    if loop not in _switchboards:
        for closed in [known for known in _switchboards if known.is_closed()]:
            del _switchboards[closed]
        _switchboards[loop] = Switchboard()
    return _switchboards[loop]
