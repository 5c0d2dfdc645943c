"""The other end of ``apart``: the process that takes in what many agents report, until the panel hangs up."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
from django.db import DatabaseError

from models_app import live
from models_app.agent.codec import Malformed
from models_app.agent.messages import CloseCode, Observed, Samples, unpack
from models_app.agent_link.inbox import Flood, Inbox
from models_app.agent_link.intake import Intake, Stored
from models_app.agent_link.tasks import run_in
from models_app.agent_link.words import Closed, Due, FromPanel, Happened, Opened, Refused, Said, Watched, Wire
from models_app.agent_link.words import Stored as SaidToBeStored
from models_app.inventory.models import Host
from models_app.telemetry.history.recorder import recorder

log = logging.getLogger(__name__)

_DECODER = msgspec.msgpack.Decoder(FromPanel)


class Recording:
    """Takes in what the panel hands on over this socket; ``begin`` gets the names of further works when they are due."""

    def __init__(self, end: socket.socket, begin: Callable[[str], None]) -> None:
        self._wire = Wire(end)
        self._begin = begin
        self._intake = Intake(self._tell_stored)
        self._intake.are_many = True
        self._inboxes: dict[int, Inbox] = {}
        self._rows = ThreadPoolExecutor(max_workers=1, thread_name_prefix="berth-agents")

    async def serve(self) -> None:
        """Until the panel hangs up."""
        async for word in self._wire.heard(_DECODER):
            await self._heed(word)
        for line in list(self._inboxes):
            self._close(line)

    async def write(self) -> None:
        """Write what was taken in and is not written yet."""
        await run_in(self._rows, recorder.flush)

    async def _heed(self, word: FromPanel) -> None:
        match word:
            case Opened():
                await self._open(word)
            case Said() if word.line in self._inboxes:
                self._read(self._inboxes[word.line], word.text)
            case Watched() if word.line in self._inboxes:
                self._inboxes[word.line].watch(word.seconds)
                self._intake.arrived(self._inboxes[word.line])
            case Closed():
                self._close(word.line)
            case Due():
                self._begin(word.work)

    async def _open(self, word: Opened) -> None:
        try:
            host = await run_in(self._rows, Host.objects.get, pk=word.host_id)
        except (Host.DoesNotExist, DatabaseError) as error:
            log.warning("the host of an agent cannot be read, the agent is to come again: %s", error)
            self._wire.send(Refused(word.line, CloseCode.RESTARTED))
            return
        inbox = Inbox(agent_id=word.agent_id, host=host, boot_id=word.boot_id, received=word.received, number=word.line)
        self._inboxes[word.line] = inbox
        self._intake.add(inbox)

    def _close(self, line: int) -> None:
        inbox = self._inboxes.pop(line, None)
        if inbox is not None:
            self._intake.remove(inbox)

    def _read(self, inbox: Inbox, text: str) -> None:
        try:
            message = unpack(text, Samples, Observed)
            if isinstance(message, Samples):
                inbox.take(message.items)
            else:
                inbox.observe(message)
            self._intake.arrived(inbox)
        except Malformed as error:
            log.warning("an agent's message cannot be understood (that of %s): %s", inbox.host, error)
            self._refuse(inbox, CloseCode.MALFORMED)
        except Flood:
            log.warning("an agent says more than it may: that of %s", inbox.host)
            self._refuse(inbox, CloseCode.FLOOD)

    def _refuse(self, inbox: Inbox, code: int) -> None:
        self._close(inbox.number)
        self._wire.send(Refused(inbox.number, code))

    async def _tell_stored(self, stored: Stored) -> None:
        self._wire.send(SaidToBeStored({inbox.number: sequence for inbox, sequence in stored}))

    def tell(self, event: live.Event) -> None:
        """Have the panel's listeners hear of an event of this process."""
        self._wire.send(Happened(event.topic, event.object_id, event.revision))
