"""The socket under a session: one connection outward, made again after every end, with a growing and random pause."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from models_app.agent.codec import Malformed
from models_app.agent.messages import MOST_BYTES, CloseCode
from models_app.agent.session import AgentSession, PanelRefused, State

log = logging.getLogger(__name__)

OPEN_SECONDS = 10.0
ALIVE_SECONDS = 20.0
"""A ping every so often, and as long for its answer."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
REFUSED_PAUSE_SECONDS = 60.0
"""After a refusal that only a person can change."""
INTRODUCE_SECONDS = 20.0
UNREACHED = (OSError, TimeoutError, InvalidHandshake, InvalidURI, ConnectionClosed)
REFUSALS = {
    CloseCode.REFUSED: "it does not accept this agent's secret, which was revoked or is another panel's. Enrol again",
    CloseCode.REFUSED_TOKEN: "the token was used already, has expired, or is not one of this panel. Make a new one",
    CloseCode.REPLACED: "another process uses the same secret and has taken over",
    CloseCode.VERSION: "the panel speaks another version of the protocol: update the agent",
}


def words_of(error: Exception) -> str:
    """Why there is no connection, with what helps where the panel's certificate is not trusted."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}). "
            "If it comes from an authority of your own, name that in ca_file"
        )
    return str(error)


class Link:
    """Keeps a session connected. ``wake`` is set whenever the session may have something to send."""

    def __init__(
        self,
        url: str,
        session: AgentSession,
        *,
        tls: ssl.SSLContext | None = None,
        on_open: Callable[[], None] = lambda: None,
        random_fraction: Callable[[], float] = random.random,
    ) -> None:
        self.wake = asyncio.Event()
        self._url = url
        self._session = session
        self._tls = tls
        self._on_open = on_open
        self._random_fraction = random_fraction
        self._failures = 0
        self._opened = asyncio.Event()

    async def introduce(self) -> None:
        """Connect once, until the panel lets this machine in. Raises ``PanelRefused``, ``UNREACHED``, ``Malformed``."""
        connecting, opened = asyncio.create_task(self.connect_once()), asyncio.create_task(self._opened.wait())
        try:
            await asyncio.wait({connecting, opened}, timeout=INTRODUCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if opened.done():
                return
            code = connecting.result() if connecting.done() else None
            if code in REFUSALS:
                raise PanelRefused(f"The panel closed the connection: {REFUSALS[code]}.")
            raise ConnectionError("it does not answer as a panel does")
        finally:
            connecting.cancel()
            opened.cancel()
            await asyncio.gather(connecting, opened, return_exceptions=True)

    async def run(self) -> None:
        """Until cancelled. No failure ends it."""
        while True:
            pause_seconds = await self._connect_once()
            await asyncio.sleep(pause_seconds)

    async def connect_once(self) -> int | None:
        """One connection until its end; the code with which the panel closed it. Raises what ``websockets`` does."""
        async with connect(
            self._url,
            ssl=self._tls,
            compression=None,
            max_size=MOST_BYTES + 1024,
            open_timeout=OPEN_SECONDS,
            ping_interval=ALIVE_SECONDS,
            ping_timeout=ALIVE_SECONDS,
            close_timeout=2,
        ) as socket:
            self._session.begin()
            try:
                await self._converse(socket)
            finally:
                self._session.end()
            return socket.close_code

    async def _connect_once(self) -> float:
        """The seconds to wait before the next try."""
        code = None
        try:
            code = await self.connect_once()
        except PanelRefused as error:
            code = CloseCode.REFUSED
            log.error("%s", error)
        except Malformed as error:
            log.error("the panel and this agent do not understand each other: %s", error)
        except UNREACHED as error:
            log.warning("no connection to the panel: %s", words_of(error))
        if code in REFUSALS:
            log.error("the panel closed the connection: %s.", REFUSALS[code])
            return REFUSED_PAUSE_SECONDS * (1 + self._random_fraction())
        return self._pause_seconds()

    def _pause_seconds(self) -> float:
        """Twice as long after each failure, between the half and the whole of it, so that a thousand agents spread."""
        longest: float = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._failures, 16))
        self._failures += 1
        return longest * (0.5 + 0.5 * self._random_fraction())

    async def _converse(self, socket: ClientConnection) -> None:
        writer = asyncio.create_task(self._write(socket))
        try:
            async for text in _until_closed(socket):
                was_open = self._session.state is State.OPEN
                self._session.receive(text)
                if self._session.state is State.OPEN and not was_open:
                    self._failures = 0
                    log.info("connected to the panel as %s", self._session.host)
                    self._opened.set()
                    self._on_open()
                self.wake.set()
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def _write(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.wake.clear()
                for text in self._session.outgoing():
                    await socket.send(text)
                await self.wake.wait()


async def _until_closed(socket: ClientConnection) -> AsyncIterator[str | bytes]:
    """However it closes: the code says why."""
    with contextlib.suppress(ConnectionClosed):
        async for text in socket:
            yield text
