"""The whole panel in one process: web server, worker thread and background thread. All run, or none does."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable

import uvicorn
from django.conf import settings

from models_app.runtime import background
from models_app.runtime.worker import EmbeddedWorker

log = logging.getLogger(__name__)


class BackgroundThread:
    """``background.run`` on an event loop of its own, so that a slow database write never delays a page."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="berth-background", daemon=True)
        self.crashed: BaseException | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wait(self) -> None:
        """Return when the thread has ended."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(background.run(self._stop))
        except BaseException as error:
            self.crashed = error
        if not self._stop.is_set() and self.crashed is None:
            self.crashed = RuntimeError("the background thread ended by itself")

    def stop(self, timeout_seconds: float = 5) -> None:
        """Let the current ticks end and wait for the thread, at most ``timeout_seconds``."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout_seconds)


def server(on_ready: Callable[[], None]) -> uvicorn.Server:
    """The web server on ``settings.HOST`` and ``settings.PORT``; ``on_ready`` is called once it accepts connections."""
    config = uvicorn.Config(
        "controlpanel.asgi:application",
        host=settings.HOST,
        port=settings.PORT,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
        ws_max_size=64 * 1024,
        proxy_headers=settings.BEHIND_TLS,
        server_header=False,
    )
    return _AnnouncingServer(config, on_ready)


class _AnnouncingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()


async def serve(web: uvicorn.Server) -> BaseException | None:
    """Run every part until a signal or until one part ends. Returns what crashed, or ``None`` after a clean stop."""
    worker, behind = EmbeddedWorker(), BackgroundThread()
    worker.start()
    behind.start()
    watch = asyncio.create_task(_stop_when_a_part_ends(web, worker, behind))
    try:
        await web.serve()
    finally:
        watch.cancel()
        await asyncio.to_thread(behind.stop)
        await asyncio.to_thread(worker.stop)
    return worker.crashed or behind.crashed


async def _stop_when_a_part_ends(web: uvicorn.Server, worker: EmbeddedWorker, behind: BackgroundThread) -> None:
    await asyncio.wait(
        [asyncio.create_task(asyncio.to_thread(part.wait)) for part in (worker, behind)],
        return_when=asyncio.FIRST_COMPLETED,
    )
    log.error("a part of the panel ended, so all of it stops: %s", worker.crashed or behind.crashed)
    web.should_exit = True
