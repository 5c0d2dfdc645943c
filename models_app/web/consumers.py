"""The websocket of the live pages. It only sends; whoever sends to it is cut off."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.auth.models import User

from models_app.accounts.standing import Login, Standing, login_of, standings
from models_app.web.hub import NO_ROLE, NOT_SIGNED_IN, hub
from models_app.web.viewer import Viewer

POLICY_VIOLATION = 1008
WHOLE = b"whole"
"""By this query a page asks for whole fragments."""


class LiveConsumer(AsyncWebsocketConsumer):
    """Feeds one browser the fragments of one screen for as long as its user is logged in and keeps the role."""

    channel_layer_alias = ""  # no channel of its own: the hub calls it directly

    viewer: Viewer | None = None

    async def connect(self) -> None:
        """Accept first, so that the browser sees the code with which it is turned away."""
        await self.accept()
        login = self._login()
        standing = await database_sync_to_async(_standing)(login) if login else None
        if login is None or standing is None or not standing.signed_in:
            await self.close(NOT_SIGNED_IN)
        elif standing.role is None:
            await self.close(NO_ROLE)
        else:
            self.viewer = Viewer(
                self._screen(),
                login,
                standing.role,
                self._transmit,
                self._hang_up,
                takes_patches=self.scope["query_string"] != WHOLE,
            )
            hub().join(self.viewer)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:  # noqa: ARG002
        """There are no commands."""
        await self.close(POLICY_VIOLATION)

    async def disconnect(self, code: int) -> None:  # noqa: ARG002
        """Leave the hub."""
        if self.viewer:
            hub().leave(self.viewer)

    def _login(self) -> Login | None:
        scope: Any = self.scope
        user, session = scope.get("user"), scope.get("session")
        return login_of(user, session.session_key or "") if isinstance(user, User) and session else None

    def _screen(self) -> str:
        name: str = self.scope["url_route"]["kwargs"]["screen"]
        return name

    async def _transmit(self, message: str) -> None:
        with suppress(OSError, RuntimeError):  # the browser has gone
            await self.send(text_data=message)

    async def _hang_up(self, code: int) -> None:
        with suppress(OSError, RuntimeError):
            await self.close(code)


def _standing(login: Login) -> Standing:
    return standings([login])[login]
