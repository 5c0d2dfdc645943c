"""Keeps looking at every endpoint. Each has tasks of its own, so one that hangs delays no other."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.utils import timezone

from models_app.backends.errors import BackendError
from models_app.backends.protocol import Backend
from models_app.inventory.connect import backend_for
from models_app.inventory.discovery import discover, forget_passing
from models_app.inventory.managed import absence
from models_app.inventory.models import Endpoint, Gpu, Host, ManagedServer
from models_app.inventory.observe import look_and_record, record_failure
from models_app.inventory.refresh import refresh_installed
from models_app.inventory.routes import agent_endpoint

log = logging.getLogger(__name__)

REFRESH_SECONDS = 60.0
REFRESH_EACH_SECONDS = 1.0
"""With so many endpoints that a minute does not suffice for this, what is installed is read less often."""
LOOKS_AT_ONCE = 64
REFRESHES_AT_ONCE = 8

Address = tuple[Any, ...]
"""Everything that a backend is made from: when it changes, another backend is made."""


@dataclass(slots=True)
class _Watched:
    """One endpoint under watch. ``refresh_due`` is on the clock of ``time.monotonic``; 0 is at once."""

    address: Address
    backend: Backend
    look: asyncio.Task[None] | None = None
    refresh: asyncio.Task[None] | None = None
    refresh_due: float = 0.0
    was_online: bool = True


class Watcher:
    """Looks at what is in memory of each endpoint at every tick, and each minute or less often at what is installed.

    What is installed is also read at the first look and when an endpoint has come back. The panel's own host is searched
    for new servers at the same rhythm.
    """

    def __init__(self) -> None:
        self._watched: dict[int, _Watched] = {}
        self._slots = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._refreshing = asyncio.Semaphore(REFRESHES_AT_ONCE)
        self._discovery: asyncio.Task[None] | None = None
        self._discovery_due = 0.0
        self._refresh_seconds = REFRESH_SECONDS

    async def tick(self) -> None:
        """Begin a look at every endpoint whose look before has ended. Does not wait for the answers."""
        self._begin_discovery()
        rows = await sync_to_async(_addressed_endpoints)()
        self._refresh_seconds = max(REFRESH_SECONDS, REFRESH_EACH_SECONDS * len(rows))
        for gone in self._watched.keys() - {endpoint.pk for endpoint, _ in rows}:
            await self._forget(gone)
        for endpoint, address in rows:
            watched = await self._watch(endpoint, address)
            if watched is None:
                continue
            if agent_endpoint(endpoint.url) is not None:  # its agent looks, and tells
                self._looked(endpoint, watched, is_online=endpoint.state == Endpoint.State.ONLINE)
            elif not _is_running(watched.look):
                watched.look = asyncio.create_task(self._look(endpoint, watched))

    async def settled(self) -> None:
        """Wait until every look, refresh and search that has begun has ended."""
        while tasks := self._running():
            await asyncio.wait(tasks)

    async def aclose(self) -> None:
        """Stop everything and close the connections."""
        tasks = self._running()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for endpoint_id in list(self._watched):
            await self._forget(endpoint_id)

    def _running(self) -> list[asyncio.Task[None]]:
        tasks = [task for watched in self._watched.values() for task in (watched.look, watched.refresh)]
        return [task for task in (*tasks, self._discovery) if task is not None and not task.done()]

    async def _watch(self, endpoint: Endpoint, address: Address) -> _Watched | None:
        """The endpoint under watch; ``None`` where it cannot be called, which keeps nobody from the others."""
        watched = self._watched.get(endpoint.pk)
        if watched is not None and watched.address == address:
            return watched
        if watched is not None:
            await self._forget(endpoint.pk)
        try:
            backend = await sync_to_async(backend_for)(endpoint)
        except BackendError as error:
            log.debug("endpoint %s cannot be called: %s", endpoint.name, error.message)
            await sync_to_async(record_failure)(endpoint, error, timezone.now())
            return None
        except (Endpoint.DoesNotExist, ManagedServer.DoesNotExist) as error:
            log.debug("endpoint %s: %s", endpoint.name, error)
            return None
        except Exception:
            log.exception("nothing can be made of what is known of endpoint %s", endpoint.name)
            return None
        self._watched[endpoint.pk] = _Watched(address, backend, refresh_due=self._first_refresh(endpoint))
        return self._watched[endpoint.pk]

    def _first_refresh(self, endpoint: Endpoint) -> float:
        """At once; where there are many, those that were read before take turns, so that a start is no burst."""
        if not endpoint.version or self._refresh_seconds == REFRESH_SECONDS:
            return 0.0
        return time.monotonic() + random.uniform(0, self._refresh_seconds)  # noqa: S311 - no secret

    async def _forget(self, endpoint_id: int) -> None:
        watched = self._watched.pop(endpoint_id)
        for task in (watched.look, watched.refresh):
            if task is not None:
                task.cancel()
        await watched.backend.aclose()

    async def _look(self, endpoint: Endpoint, watched: _Watched) -> None:
        is_online = False
        try:
            async with self._slots:
                seen = await look_and_record(endpoint, watched.backend)
            is_online = absence(endpoint, seen.server) is None
        except (BackendError, Endpoint.DoesNotExist) as error:
            log.debug("endpoint %s: %s", endpoint.name, error)
        except Exception:
            log.exception("the look at endpoint %s failed", endpoint.name)
        self._looked(endpoint, watched, is_online=is_online)

    def _looked(self, endpoint: Endpoint, watched: _Watched, *, is_online: bool) -> None:
        """Read what is installed, if it is time for that."""
        came_back = is_online and not watched.was_online
        watched.was_online = is_online
        is_due = is_online and time.monotonic() >= watched.refresh_due
        if (is_due or came_back) and not _is_running(watched.refresh):
            watched.refresh_due = time.monotonic() + self._refresh_seconds
            watched.refresh = asyncio.create_task(self._refresh(endpoint, watched))

    async def _refresh(self, endpoint: Endpoint, watched: _Watched) -> None:
        try:
            async with self._refreshing:
                await refresh_installed(endpoint, watched.backend)
        except (BackendError, Endpoint.DoesNotExist) as error:
            log.debug("endpoint %s: %s", endpoint.name, error)
        except Exception:
            log.exception("what endpoint %s has installed could not be read", endpoint.name)

    def _begin_discovery(self) -> None:
        if settings.DISCOVERY and not _is_running(self._discovery) and time.monotonic() >= self._discovery_due:
            self._discovery_due = time.monotonic() + REFRESH_SECONDS
            self._discovery = asyncio.create_task(_discover())


async def _discover() -> None:
    try:
        for host in await sync_to_async(_local_hosts)():
            await discover(host)
            await sync_to_async(forget_passing)(host)
    except Exception:
        log.exception("the search for servers on this machine failed")


def _is_running(task: asyncio.Task[None] | None) -> bool:
    return task is not None and not task.done()


def _local_hosts() -> list[Host]:
    return list(Host.objects.filter(is_local=True))


def _addressed_endpoints() -> list[tuple[Endpoint, Address]]:
    """Every endpoint with what its backend is made from, in three queries. An agent knows its own GPUs."""
    endpoints = list(Endpoint.objects.order_by())
    called = {row.host_id for row in endpoints if agent_endpoint(row.url) is None}
    gpus: dict[int, list[tuple[str, int]]] = {}
    present = Gpu.objects.filter(present=True, host__in=called).order_by("uuid")
    for host_id, uuid, index in present.values_list("host_id", "uuid", "index"):
        gpus.setdefault(host_id, []).append((uuid, index))
    specs = {row.endpoint_id: repr(row.spec) for row in ManagedServer.objects.all()}
    return [
        (row, (row.mode, row.url, row.api_key, tuple(gpus.get(row.host_id, ())), specs.get(row.pk))) for row in endpoints
    ]
