"""Asking an agent and waiting for the end: told by this process where it holds the socket, else by looking at the row."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.utils import timezone

from models_app.agent import codec
from models_app.agent.calls import Call
from models_app.agent.codec import Malformed
from models_app.agent.failures import error_of
from models_app.agent.messages import Failed
from models_app.agent_link import commands
from models_app.agent_link.commands import State
from models_app.agent_link.door import is_held
from models_app.agent_link.models import AWAY_AFTER, Agent, AgentCommand
from models_app.backends.errors import BackendError, BadAnswer, TimedOut, Unreachable
from models_app.backends.protocol import Progress

LOST_AFTER = timedelta(seconds=30)
"""Without a word from the agent, after which something that was sent counts as lost."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 0.25
CANCEL_SECONDS = 3.0
"""How long a cancelled call may take to say that it stopped."""
GRACE_SECONDS = 2.0
"""The agent's own deadline comes first: its verdict says more."""
_LOST = Failed(
    "endpoint_unreachable",
    "The agent was lost meanwhile, and what became of the call is not known.",
    "Look at the endpoint before trying again.",
)
ENDED = (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.LOST)


def away_error(agent: Agent | None, host: str) -> Unreachable | None:
    """Why an agent cannot be asked now; ``None`` where it can."""
    if agent is None or agent.revoked_at is not None:
        return Unreachable(f"{host} has no agent, and this endpoint is reached only through one.", hint="Enrol it again.")
    seen = agent.last_seen_at
    if seen is None or timezone.now() - seen > AWAY_AFTER:
        since = f" since {seen:%Y-%m-%d %H:%M:%S} UTC" if seen else ""
        hint = agent.problem if agent.is_turned_away else f"Check that it runs on {host} and reaches the panel."
        return Unreachable(f"The agent on {host} is away{since}.", hint=hint)
    return None


class Asking:
    """One command from its row to its answer."""

    def __init__(self, host_id: int, host: str, call: Call, endpoint: str, arguments: Any, seconds: float) -> None:
        self._host_id = host_id
        self._host = host
        self._call = call
        self._endpoint = endpoint
        self._arguments = arguments
        self._seconds = seconds
        self._id = self._agent_id = 0
        self._is_open = False

    async def steps(self) -> AsyncGenerator[Progress | Done, None]:
        """Its progress, and its answer as the last. Closing the generator cancels it. Raises ``BackendError``."""
        loop, news = asyncio.get_running_loop(), asyncio.Event()
        asking = asyncio.create_task(sync_to_async(self._ask)())
        told: dict[str, Any] = {}
        try:
            row = await asyncio.shield(asking)
            commands.on_news(self._id, lambda: loop.call_soon_threadsafe(news.set))
            for pause in self._pauses():
                row = await sync_to_async(self._look)()
                if row.progress != told:
                    lines = commands.new_lines(row.progress, told.get("line_count", 0))
                    told = row.progress
                    yield replace(codec.made(Progress, told), lines=lines)
                if row.state in ENDED:
                    yield self._answer(row)
                    return
                await _wait(news, pause)
        finally:
            await asyncio.gather(asking, return_exceptions=True)  # cancelled before: its thread writes the row all the same
            if self._is_open:
                await self._cancel(news)
            commands.forget_news(self._id)

    def answer(self) -> Any:
        """The same without a loop, in a thread that may wait. Raises ``BackendError``."""
        news = threading.Event()
        self._ask()
        commands.on_news(self._id, news.set)
        try:
            for pause in self._pauses():
                row = self._look()
                if row.state in ENDED:
                    return self._answer(row).answer
                news.wait(pause)
                news.clear()
        finally:
            commands.forget_news(self._id)
        raise AssertionError("pauses never end")

    def _pauses(self) -> Iterator[float]:
        """Where this process holds the socket it is told, and looks only to be sure."""
        return itertools.repeat(LONGEST_PAUSE_SECONDS) if is_held(self._agent_id) else _pauses()

    def _ask(self) -> AgentCommand:
        agent = Agent.objects.filter(host_id=self._host_id).first()
        error = away_error(agent, self._host)
        if agent is None or error is not None:
            raise error or Unreachable(f"{self._host} has no agent.")
        row = commands.ask(agent, self._call.name, self._endpoint, self._arguments, self._seconds)
        self._id, self._agent_id, self._is_open = row.pk, agent.pk, True
        return row

    def _look(self) -> AgentCommand:
        """The row now; given up where the agent is away for too long or the time is over."""
        row = AgentCommand.objects.select_related("agent").filter(pk=self._id).first()
        if row is None:
            self._is_open = False
            raise Unreachable(f"{self._host} has another agent now.", hint="Try again.")
        if row.state not in ENDED and (failure := _overdue(row)):
            commands.lose(AgentCommand.objects.filter(pk=row.pk), failure)
            row.refresh_from_db()
        self._is_open = row.state not in ENDED
        return row

    def _answer(self, row: AgentCommand) -> Done:
        if row.state != State.SUCCEEDED:
            raise _error(row)
        try:
            return Done(codec.decode(self._call.answer, row.answer))
        except Malformed as error:
            raise BadAnswer(f"The agent on {self._host} answered wrongly: {error}.") from None

    async def _cancel(self, news: asyncio.Event) -> None:
        """Ask it to stop, and wait a little until it has."""
        await sync_to_async(commands.request_cancel)(self._id)
        until = asyncio.get_running_loop().time() + CANCEL_SECONDS
        for pause in _pauses():
            row = await sync_to_async(self._row)()
            if row is None or row.state in ENDED or asyncio.get_running_loop().time() > until:
                return
            await _wait(news, pause)

    def _row(self) -> AgentCommand | None:
        return AgentCommand.objects.filter(pk=self._id).first()


class Done:
    """The answer of a call that succeeded."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer


def _overdue(row: AgentCommand) -> Failed | None:
    now, seen = timezone.now(), row.agent.last_seen_at
    if row.agent.revoked_at is not None:
        return Failed("endpoint_unreachable", "The agent was revoked.")
    if now > row.deadline_at + timedelta(seconds=GRACE_SECONDS):
        return Failed("endpoint_timed_out", "The agent did not do it in time.")
    limit = AWAY_AFTER if row.state == State.QUEUED or row.call in commands.QUESTIONS else LOST_AFTER
    return _LOST if seen is None or now - seen > limit else None


def _error(row: AgentCommand) -> BackendError:
    if row.failure is None:
        return TimedOut("The call was cancelled.")
    try:
        return error_of(codec.made(Failed, row.failure))
    except Malformed:
        return BadAnswer("The agent gave no reason that can be read.")


async def _wait(news: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        pass
    news.clear()


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(pause * 1.3, LONGEST_PAUSE_SECONDS)
