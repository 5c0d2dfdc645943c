"""Does what the panel asks: each id once, each within its time, and each end told until the panel has heard of it."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from models_app.agent import codec
from models_app.agent.calls import ENDPOINT_CALLS
from models_app.agent.codec import Malformed
from models_app.agent.failures import failed
from models_app.agent.host_calls import HOST_CALLS
from models_app.agent.messages import (
    MOST_ANSWER_CHARACTERS,
    PART_CHARACTERS,
    Ask,
    Done,
    Failed,
    Message,
    Part,
    Progressed,
)
from models_app.backends.errors import BackendError
from models_app.backends.protocol import Progress

log = logging.getLogger(__name__)

MOST_RUNNING = 64
MOST_REMEMBERED = 512
"""Ends that are told again when they are asked for again."""
LONGEST_SECONDS = 24 * 3600.0
REPORT_EVERY_SECONDS = 0.2
MOST_LINES, MOST_LINE_CHARACTERS = 100, 400
"""Of a log, between two reports."""
MOST_LINES_BYTES = 48 * 1024
"""Of these lines together, as they are sent: JSON and UTF-8 make more of a line than its characters."""

Target = Callable[[str], Awaitable[Any]]
"""What performs a call: the backend of the endpoint of that name, or the agent for an empty one."""


class Desk:
    """Belongs to one event loop. ``say`` sends to the panel, or drops where there is none."""

    def __init__(self, target: Target, say: Callable[[Message], None]) -> None:
        self._target = target
        self._say = say
        self._tasks: dict[int, asyncio.Task[list[Message]]] = {}
        self._ends: OrderedDict[int, list[Message]] = OrderedDict()
        self._settled: OrderedDict[int, None] = OrderedDict()

    def ask(self, ask: Ask) -> None:
        """Begin it. What was begun goes on; what has ended is told again."""
        if ask.id in self._tasks:
            return
        if ask.id in self._ends:
            self._tell(ask.id)
        elif ask.id in self._settled:
            self._end(ask.id, _failed(ask.id, "agent_fault", "It was done before, and its end was told."))
        elif len(self._tasks) >= MOST_RUNNING:
            self._end(ask.id, Done(ask.id, failed=Failed("endpoint_busy", "The agent is doing too much at once.")))
        else:
            task = self._tasks[ask.id] = asyncio.create_task(self._do(ask))
            task.add_done_callback(partial(self._done, ask.id))

    def cancel(self, ask_id: int) -> None:
        """Stop it, if it still runs."""
        if task := self._tasks.get(ask_id):
            task.cancel()

    def settle(self, ask_id: int) -> None:
        """The panel knows how it ended."""
        if self._ends.pop(ask_id, None) is not None:
            _remember(self._settled, ask_id, None)

    def running(self) -> tuple[int, ...]:
        """The ids of what has not been settled."""
        return (*self._tasks, *self._ends)

    def unsettled(self) -> list[Message]:
        """The ends that the panel may not have heard of."""
        return [message for end in self._ends.values() for message in end]

    async def aclose(self) -> None:
        """Stop everything."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _do(self, ask: Ask) -> list[Message]:
        try:
            async with asyncio.timeout(min(ask.seconds, LONGEST_SECONDS)):
                return _answered(ask.id, await self._perform(ask))
        except BackendError as error:
            return [Done(ask.id, failed=failed(error))]
        except TimeoutError:
            return [_failed(ask.id, "endpoint_timed_out", f"It took longer than {ask.seconds:.3g} seconds.")]
        except Malformed as error:
            return [_failed(ask.id, "endpoint_rejected", str(error))]
        except Exception as error:
            log.exception("%s at %s failed", ask.call, ask.endpoint or "this host")
            return [_failed(ask.id, "agent_fault", f"The agent could not do it: {type(error).__name__}.")]

    def _done(self, ask_id: int, task: asyncio.Task[list[Message]]) -> None:
        """Not a part of the task: one that is cancelled before it has begun does nothing at all."""
        del self._tasks[ask_id]
        self._end(ask_id, *([_failed(ask_id, "cancelled", "Cancelled.")] if task.cancelled() else task.result()))

    async def _perform(self, ask: Ask) -> Any:
        call = (ENDPOINT_CALLS if ask.endpoint else HOST_CALLS).get(ask.call)
        if call is None:
            raise Malformed(f"This agent has no call “{ask.call[:40]}”.")
        arguments = codec.decode(call.arguments, dict(ask.arguments))
        target = await self._target(ask.endpoint)
        reports = _Reports(ask.id, self._say)
        try:
            return codec.encode(await call.perform(target, arguments, reports.report), call.answer)
        finally:
            reports.flush()

    def _end(self, ask_id: int, *messages: Message) -> None:
        _remember(self._ends, ask_id, list(messages))
        self._tell(ask_id)

    def _tell(self, ask_id: int) -> None:
        for message in self._ends[ask_id]:
            self._say(message)


class _Reports:
    """Passes progress on a few times a second: the latest, with every line that was logged meanwhile."""

    def __init__(self, ask_id: int, say: Callable[[Message], None]) -> None:
        self._ask_id = ask_id
        self._say = say
        self._due = 0.0
        self._latest: Progress | None = None
        self._lines: deque[str] = deque(maxlen=MOST_LINES)

    def report(self, progress: Progress) -> None:
        """How far it is now."""
        self._latest = progress
        self._lines.extend(line[:MOST_LINE_CHARACTERS] for line in progress.lines)
        now = asyncio.get_running_loop().time()
        if now >= self._due:
            self._due = now + REPORT_EVERY_SECONDS
            self.flush()

    def flush(self) -> None:
        """Say what has not been said."""
        if self._latest is not None:
            self._say(Progressed(self._ask_id, replace(self._latest, lines=_latest_that_fit(self._lines))))
            self._latest = None
            self._lines.clear()


def _latest_that_fit(lines: Sequence[str]) -> tuple[str, ...]:
    """The latest lines that one message can hold: a report that is too large must not end what it tells of."""
    fitting: deque[str] = deque()
    room_bytes = MOST_LINES_BYTES
    for line in reversed(lines):
        room_bytes -= len(codec.dumps(line).encode()) + 1
        if room_bytes < 0:
            break
        fitting.appendleft(line)
    return tuple(fitting)


def _answered(ask_id: int, answer: Any) -> list[Message]:
    text = codec.dumps(answer)
    if len(text) <= PART_CHARACTERS:
        return [Done(ask_id, answer)]
    if len(text) > MOST_ANSWER_CHARACTERS:
        raise Malformed(f"The answer has {len(text)} characters; at most {MOST_ANSWER_CHARACTERS} are sent.")
    pieces = [text[start : start + PART_CHARACTERS] for start in range(0, len(text), PART_CHARACTERS)]
    parts: list[Message] = [Part(ask_id, index, piece) for index, piece in enumerate(pieces)]
    return [*parts, Done(ask_id, parts=len(parts))]


def _failed(ask_id: int, code: str, message: str) -> Done:
    return Done(ask_id, failed=Failed(code, message))


def _remember(store: OrderedDict[int, Any], key: int, value: Any) -> None:
    store[key] = value
    while len(store) > MOST_REMEMBERED:
        store.popitem(last=False)
