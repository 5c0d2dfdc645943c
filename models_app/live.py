"""Live events: the one door through which anything tells browsers that something changed.

An event names a topic and, where one object changed, its id. It carries a revision, a number that only rises: a reader
that sees a gap fetches again. ``publish`` sends after the transaction commits, so that a reader who is told finds the rows.

Whoever listens in the same process is called directly. Other processes hear of it through Redis, where a loop of its own
sends, over one connection a process. An event that is not sent, and processes that share no channel layer with the web
server, are covered by ``current_revision``, which the web process's hub polls. The in-memory channel layer, which carries
other messages within a process, belongs to the event loop of the web server and is not thread-safe; ``use_loop`` tells
which loop that is.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.db import connection, models, transaction
from redis.exceptions import RedisError

log = logging.getLogger(__name__)
GROUP = "live"
UNREACHABLE = (OSError, RedisError)
"""What a channel layer raises that does not answer."""


class Topic(StrEnum):
    """What changed."""

    TELEMETRY = "telemetry"
    """A new sample of a host."""
    INVENTORY = "inventory"
    """Hosts, GPUs, endpoints, loaded models or the catalog."""
    OPERATION = "operation"
    PLAN = "plan"
    ALERT = "alert"
    """Alerts: raised, cleared, acknowledged or muted; their rules and receivers."""
    ACCOUNTS = "accounts"
    """A role or a user changed: sockets re-check their right to be open."""


@dataclass(frozen=True, slots=True)
class Event:
    """One change. ``object_id`` is 0 where no single object changed."""

    topic: Topic
    object_id: int
    revision: int


class Revision(models.Model):
    """The one row that counts events."""

    number = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.number)


_loop: asyncio.AbstractEventLoop | None = None
_listeners: dict[Callable[[Event], None], asyncio.AbstractEventLoop] = {}
ORIGIN = uuid.uuid4().hex
"""Marks this process's events in the channel layer, for whoever has heard them already."""


def listen(hear: Callable[[Event], None]) -> None:
    """Call this on the running loop at every event of this process from now on."""
    _listeners[hear] = asyncio.get_running_loop()


def unlisten(hear: Callable[[Event], None]) -> None:
    """Call it no longer."""
    _listeners.pop(hear, None)


def is_shared() -> bool:
    """Whether the channel layer brings the events of other processes."""
    return not isinstance(get_channel_layer(), InMemoryChannelLayer)


def use_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Name the event loop of the web server in this process; ``None`` when it has stopped."""
    global _loop
    _loop = loop


def current_revision() -> int:
    """The revision of the latest event of any process; 0 before the first."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT number FROM {connection.ops.quote_name(Revision._meta.db_table)} WHERE id = 1")  # noqa: S608
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def publish(topic: Topic, object_id: int = 0) -> None:
    """Tell every browser, once the current transaction has committed."""
    transaction.on_commit(lambda: _count_and_send(topic, object_id), robust=True)


def _count_and_send(topic: Topic, object_id: int) -> None:
    _send(Event(topic, object_id, _next_revision()))


def _next_revision() -> int:
    """Plain SQL: an operation publishes a dozen events, and through the ORM they were a third of its database work."""
    table = connection.ops.quote_name(Revision._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET number = number + 1 WHERE id = 1")  # noqa: S608 - a quoted name of ours
        if not cursor.rowcount:
            Revision.objects.get_or_create(pk=1, defaults={"number": 1})
        cursor.execute(f"SELECT number FROM {table} WHERE id = 1")  # noqa: S608
        return int(cursor.fetchone()[0])


def repeat(event: Event) -> None:
    """Tell who listens in this process of an event, also where a process of its own that shares no channel layer had it."""
    for hear, loop in list(_listeners.items()):
        if loop.is_closed():
            unlisten(hear)
        else:
            loop.call_soon_threadsafe(hear, event)


def _send(event: Event) -> None:
    repeat(event)
    if is_shared():
        message = {"topic": event.topic.value, "object_id": event.object_id, "revision": event.revision}
        send_to(GROUP, {"type": "live.event", "origin": ORIGIN, **message})


def send_to(group: str, message: dict[str, Any]) -> None:
    """Give a message to everybody in a group of the channel layer, now. Whoever needs it does not rely on it."""
    layer: Any = get_channel_layer()
    loop = _loop if isinstance(layer, InMemoryChannelLayer) else _sending_loop()
    if loop is not None and not loop.is_closed():
        asyncio.run_coroutine_threadsafe(layer.group_send(group, message), loop).add_done_callback(_warn)


def _warn(sent: Future[None]) -> None:
    if not sent.cancelled() and isinstance(error := sent.exception(), UNREACHABLE):
        log.warning("live event not sent, browsers will catch up by revision: %s", error)


_sender: asyncio.AbstractEventLoop | None = None
_lock = threading.Lock()


def _sending_loop() -> asyncio.AbstractEventLoop:
    """The loop of this process that only sends events; it runs in a thread from the first event on."""
    global _sender
    with _lock:
        if _sender is None:
            _sender = asyncio.new_event_loop()
            threading.Thread(target=_sender.run_forever, name="berth-live", daemon=True).start()
    return _sender
