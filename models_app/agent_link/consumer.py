"""The websocket of agents. Nobody is trusted before the proof; whoever says something wrong is cut off.

A little more than two hundred lines: one conversation from its first word to its last.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.utils import timezone

from models_app.agent import codec
from models_app.agent.codec import Malformed
from models_app.agent.messages import (
    MOST_ANSWER_CHARACTERS,
    Announce,
    Cancel,
    Challenge,
    CloseCode,
    Done,
    Enrol,
    Enrolled,
    Hello,
    Message,
    Observed,
    Part,
    Progressed,
    Samples,
    is_report,
    pack,
    unpack,
)
from models_app.agent.proofs import nonce, proof
from models_app.agent_link import commands, keys, reports
from models_app.agent_link.enrolment import Refused, enrol
from models_app.agent_link.greeting import greet, leave
from models_app.agent_link.inbox import Flood
from models_app.agent_link.line import Allowance, Line
from models_app.agent_link.switchboard import switchboard
from models_app.agent_link.tasks import InTurn

log = logging.getLogger(__name__)

GREETING_SECONDS = 10.0
"""Whoever has not proved itself by then is cut off."""


class AgentConsumer(AsyncWebsocketConsumer):
    """One agent's socket. No browser gets in: they send their origin, agents have none."""

    line: Line | None = None

    async def connect(self) -> None:
        """Challenge whoever is there."""
        if any(name == b"origin" for name, _ in self.scope["headers"]):
            await self.close()
            return
        self._nonce = nonce()
        self._allowance = Allowance()
        self._parts: dict[int, list[str]] = {}
        self._writing = InTurn()
        await self.accept()
        self._wait_for_greeting()
        await self._say(Challenge(self._nonce, timezone.now()))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As in Channels, without two tasks for each message: there is no channel to listen to beside the socket."""
        self.scope, self.base_send = scope, send
        with suppress(StopConsumer):
            while True:
                await self.dispatch(await receive())

    async def close(self, code: Any = None, reason: str | None = None) -> None:
        """Close the socket, unless it is closed already."""
        with suppress(OSError, RuntimeError):
            await super().close(code, reason)

    async def dispatch(self, message: dict[str, Any]) -> None:
        """As in Channels, without a turn in another thread for each message: this thread has no database connection."""
        await getattr(self, get_handler_name(message))(message)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:  # noqa: ARG002
        """One message; a wrong one ends the conversation."""
        await self._unless_wrong(self._hear(text_data))

    async def _hear(self, text: str | None) -> None:
        self._allowance.take()
        if self.line is None:
            await self._be_greeted(unpack(text, Enrol, Hello))
        elif self.line.is_apart and text is not None and is_report(text):
            self.line.heard_at = time.monotonic()
            switchboard().pass_on(self.line, text)
        else:
            await self._heed(self.line, unpack(text, Samples, Announce, Observed, Progressed, Part, Done))

    async def _unless_wrong(self, hearing: Coroutine[Any, Any, None]) -> None:
        try:
            await hearing
        except Refused as refused:
            log.warning("refused %s, from %s", refused, self._peer())
            await self.close(refused.code)
        except Malformed as error:
            log.warning("an agent's message cannot be understood (%s): %s", self._who(), error)
            await self.close(CloseCode.MALFORMED)
        except Flood:
            log.warning("an agent says more than it may: %s", self._who())
            await self.close(CloseCode.FLOOD)

    async def disconnect(self, code: int) -> None:  # noqa: ARG002
        """Forget the line."""
        if hasattr(self, "_deadline"):
            self._deadline.cancel()
        if self.line is not None:
            switchboard().leave(self.line)
            await self._writing.done()
            await switchboard().in_thread(leave, self.line.agent_id, self.line.connection)

    async def _be_greeted(self, message: Enrol | Hello) -> None:
        self._deadline.cancel()  # from here on it is the panel that takes its time, as when a thousand agents return
        if isinstance(message, Enrol):
            agent = await switchboard().in_thread(enrol, message, self._nonce)
            shown = proof(keys.secret_of(agent), "enrolled", agent.key_id, agent.salt)
            await self._say(Enrolled(agent.host.name, shown))
            self._wait_for_greeting()
            return
        connection = uuid.uuid4().hex
        greeted = await switchboard().in_thread(greet, message, self._nonce, connection, timezone.now())
        self.line = Line(
            agent_id=greeted.agent.pk,
            host=greeted.host,
            boot_id=message.boot_id,
            connection=connection,
            transmit=lambda text: self.send(text_data=text),
            close=self.close,
            received=greeted.agent.committed,
            committed=greeted.agent.committed,
        )
        await self._say(greeted.welcome)
        for command_id in greeted.unwanted:
            await self._say(Cancel(command_id))
        await switchboard().join(self.line)

    async def _heed(self, line: Line, message: Message) -> None:
        line.heard_at = time.monotonic()
        match message:
            case Samples():
                line.take(message.items)
                switchboard().arrived(line)
            case Observed():
                line.observe(message)
                switchboard().arrived(line)
            case _:  # samples do not wait for it
                await self._writing.add(self._write_safely(line, message))

    async def _write_safely(self, line: Line, message: Message) -> None:
        """An agent whose message could not be written comes again and repeats it."""
        try:
            await self._unless_wrong(self._write(line, message))
        except Exception:
            log.exception("what an agent said could not be written")
            await self.close(CloseCode.RESTARTED)

    async def _write(self, line: Line, message: Message) -> None:
        board = switchboard()
        match message:
            case Announce():
                await board.in_thread(reports.announced, line.host, message)
            case Progressed():
                await board.in_thread(commands.record_progress, line.agent_id, message.id, message.progress)
            case Part():
                self._keep(message)
            case Done():
                await board.in_thread(commands.record_done, line.agent_id, self._whole(message))
                await board.settled(line, message.id)

    def _keep(self, part: Part) -> None:
        """A piece of an answer, in its order. One answer at a time, as agents send them."""
        if part.index == 0:
            self._parts = {part.id: []}
        pieces = self._parts.get(part.id)
        if pieces is None or part.index != len(pieces):
            raise Malformed("a part is out of order")
        pieces.append(part.text)
        if sum(map(len, pieces)) > MOST_ANSWER_CHARACTERS:
            raise Malformed("an answer is too long")

    def _whole(self, done: Done) -> Done:
        if not done.parts:
            return done
        pieces = self._parts.pop(done.id, [])
        if len(pieces) != done.parts:
            raise Malformed("an answer lacks parts")
        return Done(done.id, codec.decode(Any, codec.loads("".join(pieces))))

    async def _say(self, message: Message) -> None:
        with suppress(OSError, RuntimeError):  # it has gone meanwhile
            await self.send(text_data=pack(message))

    def _wait_for_greeting(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(GREETING_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._closing = asyncio.ensure_future(self.close(CloseCode.TIMED_OUT))

    def _who(self) -> str:
        return f"that of {self.line.host}" if self.line else self._peer()

    def _peer(self) -> str:
        client = self.scope.get("client")
        return str(client[0]) if client else "somewhere"
