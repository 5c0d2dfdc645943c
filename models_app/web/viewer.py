"""One open socket, as the hub sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from models_app.accounts.roles import Role
from models_app.accounts.standing import Login
from models_app.web.stepping import begin

Sending = Coroutine[Any, Any, None]


class Viewer:
    """One open socket. While one message is on its way, it holds at most one more.

    ``transmit`` and ``hang_up`` give a message or a close code to the socket; they wait where the browser is slow. A page
    that something else keeps changing, a translator perhaps, is sent whole fragments: patches would not fit it.
    """

    def __init__(
        self,
        screen: str,
        login: Login,
        role: Role,
        transmit: Callable[[str], Sending],
        hang_up: Callable[[int], Sending],
        *,
        takes_patches: bool = True,
    ) -> None:
        self.screen, self.login, self.role, self.takes_patches = screen, login, role, takes_patches
        self.wants_everything = True
        self._transmit, self._hang_up = transmit, hang_up
        self._message: str | None = None
        self._sending: asyncio.Task[None] | None = None
        self._is_closed = False

    def offer(self, message: str) -> None:
        """Send this now, or next. When the last one still waits, both are dropped; everything is sent at the next turn."""
        self.wants_everything = self._message is not None
        self._message = None if self.wants_everything else message
        if self._sending is None:
            self._send()

    def close(self, code: int) -> None:
        """Close the socket with this code, whatever else waits."""
        if not self._is_closed:
            self.leave()
            self._closing = begin(self._hang_up(code))

    def leave(self) -> None:
        """Send nothing any more."""
        self._is_closed = True
        if self._sending:
            self._sending.cancel()

    def _send(self) -> None:
        message, self._message = self._message, None
        if message is not None and not self._is_closed:
            self._sending = begin(self._transmit(message))
            if self._sending:
                self._sending.add_done_callback(self._sent)

    def _sent(self, _: asyncio.Task[None]) -> None:
        self._sending = None
        self._send()
