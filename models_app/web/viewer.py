"""One open socket, as the hub sees it."""

from __future__ import annotations

import asyncio

from models_app.accounts.roles import Role
from models_app.accounts.standing import Login


class Viewer:
    """One open socket. It holds at most one message that is not sent yet."""

    def __init__(self, screen: str, login: Login, role: Role) -> None:
        self.screen, self.login, self.role = screen, login, role
        self.close_code: int | None = None
        self.wants_everything = True
        self._message: str | None = None
        self._ready = asyncio.Event()

    async def next_message(self) -> str | None:
        """The next message; ``None`` when the socket is to be closed with ``close_code``."""
        await self._ready.wait()
        self._ready.clear()
        message, self._message = self._message, None
        return None if self.close_code else message or ""

    def offer(self, message: str) -> None:
        """Send this next. When the last one still waits, both are dropped and everything is sent at the next turn."""
        self.wants_everything = self._message is not None
        self._message = None if self.wants_everything else message
        if self._message:
            self._ready.set()
        else:
            self._ready.clear()

    def close(self, code: int) -> None:
        """Close the socket with this code, whatever else waits."""
        self.close_code = code
        self._ready.set()
