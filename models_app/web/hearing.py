"""What a web process's hub hears: live events of this process and of others, and when the next turn is due for them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from channels.layers import get_channel_layer

from models_app import live

log = logging.getLogger(__name__)

LEAST_PAUSE_SECONDS = 0.05
"""Between two renderings: what happens meanwhile goes out together."""
IDLE_SECONDS = 1.2
"""Without an event, how long until the revision is read and the time-dependent parts are rendered again. A little more than
the time between two samples, so that this does not get in their way."""
PAUSE_SECONDS = {live.Topic.TELEMETRY: 1.0, live.Topic.INVENTORY: 0.5, live.Topic.ALERT: 0.5}
"""Between two turns for which there are only such events of this process: of many hosts they come all the time."""
RESUBSCRIBE_SECONDS = 3600
"""Channel layers forget the members of a group after a day."""


class Hearing:
    """Gathers topics and counts events from one turn to the next."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._wake = asyncio.Event()
        self._later: asyncio.TimerHandle | None = None
        self._topics: set[str] = set()
        self._count = 0
        self._turned_at = 0.0
        self._listening: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Listen from now on."""
        live.use_loop(self._loop)
        live.listen(self._hear)
        if live.is_shared():
            self._listening = asyncio.create_task(self._listen())

    def end(self) -> None:
        """Listen no more."""
        live.unlisten(self._hear)
        if self._listening is not None:
            self._listening.cancel()

    def wake(self) -> None:
        """A turn is due at once."""
        self._wake.set()

    async def wait(self) -> None:
        """Until a turn is due."""
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            pass

    def take_topics(self) -> set[str]:
        """What was heard of since the last turn; this one is for all of it."""
        self._wake.clear()
        self._wake_at(None)
        topics, self._topics = self._topics, set()
        return topics

    def take_count(self) -> int:
        """How many events were heard since this was asked last."""
        count, self._count = self._count, 0
        return count

    def turned(self) -> None:
        """A turn has ended: for some topics the next keeps a distance from it."""
        self._turned_at = self._loop.time()

    def _hear(self, event: live.Event) -> None:
        """An event of this process. Some wait, for there may be many of them; samples are shown from memory anyway."""
        self._topics.add(event.topic)
        self._count += 1
        if event.topic not in PAUSE_SECONDS:
            self._wake.set()
            return
        due = max(self._turned_at + PAUSE_SECONDS[event.topic], self._loop.time() + LEAST_PAUSE_SECONDS)
        if self._later is None or due < self._later.when():
            self._wake_at(due)

    def _wake_at(self, due: float | None) -> None:
        if self._later:
            self._later.cancel()
        self._later = None if due is None else self._loop.call_at(due, self._wake.set)

    async def _listen(self) -> None:
        """Receive the events of other processes."""
        layer: Any = get_channel_layer()
        while True:
            try:
                channel = await layer.new_channel("hub")
                await layer.group_add(live.GROUP, channel)
                async with asyncio.timeout(RESUBSCRIBE_SECONDS):
                    while True:
                        self._hear_others(await layer.receive(channel))
            except TimeoutError:
                await layer.group_discard(live.GROUP, channel)
            except live.UNREACHABLE as error:
                log.warning("channel layer unreachable, polling alone finds events: %s", error)
                await asyncio.sleep(IDLE_SECONDS)

    def _hear_others(self, event: dict[str, Any]) -> None:
        if event["origin"] != live.ORIGIN:
            self._topics.add(event["topic"])
            self._count += 1
            self._wake.set()
