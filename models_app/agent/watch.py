"""Looks at every local endpoint again and again, and tells the panel what is in memory there when that changes."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from models_app.agent.codec import Malformed
from models_app.agent.config import MANAGED
from models_app.agent.endpoints import Endpoints
from models_app.agent.failures import failed
from models_app.agent.messages import Observed
from models_app.agent.session import AgentSession, State
from models_app.backends.errors import BackendError

log = logging.getLogger(__name__)

NEW_ENDPOINTS_SECONDS = 1.0
REPEAT_SECONDS = 15.0
"""What has not changed is told again after this, as a sign of life."""
REPEAT_FIRST_SECONDS = 1.0
"""The first word on an endpoint is told again sooner: the panel may not have written down the endpoint when it came."""


class Watch:
    """One task an endpoint, so that one that hangs delays no other. ``wake`` is called when there is news to send."""

    def __init__(self, endpoints: Endpoints, session: AgentSession, wake: asyncio.Event) -> None:
        self._endpoints = endpoints
        self._session = session
        self._wake = wake
        self._told: dict[str, tuple[Observed, float]] = {}

    def forget(self) -> None:
        """At a new connection everything is told anew."""
        self._told.clear()

    async def run(self) -> None:
        """Until cancelled."""
        followed: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                names = await asyncio.to_thread(lambda: self._endpoints.names)
                for name in names:
                    if name not in followed:
                        followed[name] = tasks.create_task(self._follow(name))
                for gone in followed.keys() - set(names):
                    followed.pop(gone).cancel()
                await asyncio.sleep(NEW_ENDPOINTS_SECONDS)

    async def _follow(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            is_heard = self._session.state is State.OPEN
            if is_heard or name.startswith(MANAGED):  # a look is also what notes that a server has become healthy
                news = await self._look(name)
            if is_heard:
                with contextlib.suppress(Malformed):  # more models than one message can list
                    self._tell(news, began)
            await asyncio.sleep(max(0.05, self._session.observe_seconds - (loop.time() - began)))

    async def _look(self, name: str) -> Observed:
        try:
            backend = await self._endpoints.backend(name)
            return Observed(name, observation=await backend.observe())
        except BackendError as error:
            return Observed(name, failed=failed(error))
        except Exception as error:
            log.exception("the look at %s failed", name)
            return Observed(name, failed=failed(BackendError(f"The look failed: {type(error).__name__}.")))

    def _tell(self, news: Observed, began: float) -> None:
        now = asyncio.get_running_loop().time()
        before, again_at = self._told.get(news.endpoint, (None, 0.0))
        if news != before or now >= again_at:
            self._told[news.endpoint] = news, now + (REPEAT_FIRST_SECONDS if before is None else REPEAT_SECONDS)
            self._session.say(Observed(news.endpoint, now - began, news.observation, news.failed))
            self._wake.set()
