"""The process beside this one that takes in what many agents report, so that this one has time for who looks at a page.

Python runs one thread of a process at a time, and taking in what hundreds of hosts report takes most of a core. So this
process keeps the sockets and hands on what comes, unread; it is told what is stored, and tells the agents. It starts the
other one when there are many lines; the other ends when this one hangs up or is gone. When the other one dies, nothing is
lost: its lines close, and the agents come again with what was not stored.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import count

import msgspec
from django.conf import settings

from models_app.agent.messages import CloseCode
from models_app.agent_link.door import open_beside
from models_app.agent_link.line import Line
from models_app.agent_link.words import MOST_WAITING_BYTES, Closed, Due, Opened, Said, ToPanel, Watched, Wire, Word

log = logging.getLogger(__name__)

END_SECONDS = 2.0
"""For the other process to write what it has: then it leaves, or is killed."""
SHORT_LIFE_SECONDS, REST_SECONDS = 60.0, 600.0
"""After so short a life the next one begins so much later; meanwhile this process takes everything in."""

_DECODER = msgspec.msgpack.Decoder(ToPanel)


class Apart:
    """The lines whose samples the other process takes in; ``hear`` gets what it says."""

    def __init__(self, hear: Callable[[ToPanel], Awaitable[None]]) -> None:
        self.lines: dict[int, Line] = {}
        self._hear = hear
        self._numbers = count(1)
        self._wire: Wire | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._rests_until = 0.0

    def add(self, line: Line) -> bool:
        """Have what comes over this line taken in there; whether there is a process for it."""
        wire = self._wire or self._start()
        if wire is None:
            return False
        line.number, line.is_apart = next(self._numbers), True
        self.lines[line.number] = line
        wire.send(Opened(line.number, line.agent_id, line.host.pk, line.boot_id, line.received))
        return True

    def remove(self, line: Line) -> None:
        """No longer."""
        if self.lines.pop(line.number, None) is not None:
            self._say(Closed(line.number))

    def said(self, line: Line, text: str) -> None:
        """Pass on what the agent said."""
        self._say(Said(line.number, text))

    def watched(self, line: Line, seconds: float) -> None:
        """Somebody looks at the line's host."""
        self._say(Watched(line.number, seconds))

    def stop(self) -> None:
        """Let the other process write what it has and end."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _begin(self, loop: asyncio.AbstractEventLoop, work: str) -> None:
        """A further work is due there, as another thread says."""
        loop.call_soon_threadsafe(self._say, Due(work))

    def _say(self, word: Word) -> None:
        if self._wire is None:
            return
        self._wire.send(word)
        if self._wire.waiting_bytes > MOST_WAITING_BYTES and self._process is not None:
            log.error("the process that takes in what agents report does not read; it is killed")
            self._process.kill()

    def _start(self) -> Wire | None:
        if time.monotonic() < self._rests_until:
            return None
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = spawn(theirs)
        except OSError:
            log.exception("the process that takes in what agents report cannot be started")
            ours.close()
            self._rests_until = time.monotonic() + REST_SECONDS
            return None
        wire = self._wire = Wire(ours)
        self._process = process
        open_beside(partial(self._begin, asyncio.get_running_loop()))
        self._listening = asyncio.create_task(self._listen(wire, process))
        return wire

    async def _listen(self, wire: Wire, process: subprocess.Popen[bytes]) -> None:
        began, end = time.monotonic(), partial(_end, process)
        atexit.register(end)
        try:
            await self._listen_on(wire)
            if self._wire is wire:
                self._wire = None
                await self._lost(time.monotonic() - began)
            await asyncio.to_thread(end)
            atexit.unregister(end)
        finally:
            if self._process is process:
                open_beside(None)

    async def _listen_on(self, wire: Wire) -> None:
        try:
            async for word in wire.heard(_DECODER):
                await self._hear(word)
        except Exception:
            log.exception("what the process that takes in what agents report said could not be heard")
            wire.close()

    async def _lost(self, lived_seconds: float) -> None:
        """It has died: its agents come again, to another one or, where that does not last, to this process."""
        log.error("the process that takes in what agents report has ended; its agents connect again")
        if lived_seconds < SHORT_LIFE_SECONDS:
            self._rests_until = time.monotonic() + REST_SECONDS
        lines, self.lines = list(self.lines.values()), {}
        for line in lines:
            with suppress(OSError, RuntimeError):
                await line.close(CloseCode.RESTARTED)


def spawn(end: socket.socket) -> subprocess.Popen[bytes]:
    """The process that takes in what is said at this end. Raises ``OSError``."""
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "takein", str(end.fileno())]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[end.fileno()])


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for its end, which comes soon after that of its socket."""
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
