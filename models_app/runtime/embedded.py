"""The whole panel in one process: the web server and the parts beside it. All run, or none does."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import uvicorn
from django.conf import settings
from uvicorn.loops.auto import auto_loop_factory

from models_app.runtime.part import Part

log = logging.getLogger(__name__)

T = TypeVar("T")


class CannotListen(Exception):
    """The port is taken, or the address is not this machine's."""


def listen() -> socket.socket:
    """A socket on ``settings.HOST`` and ``settings.PORT``. Raises CannotListen, which says what to do."""
    family = socket.AF_INET6 if ":" in settings.HOST else socket.AF_INET
    try:
        listener = socket.create_server((settings.HOST, settings.PORT), family=family, backlog=2048)
        # Accepted connections inherit it: without, an answer's end waits up to 40 ms for the client's word on its begin.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        is_taken = error.errno == errno.EADDRINUSE
        hint = "Stop what listens there, or choose another BERTH_PORT." if is_taken else "Check BERTH_HOST and BERTH_PORT."
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise CannotListen(f"The panel cannot listen on {settings.HOST}, port {settings.PORT}: {reason}. {hint}") from None


class WebServer(uvicorn.Server):
    """Serves the panel; ``on_ready`` is called once it accepts connections.

    Sockets are not compressed: deflate would take a quarter of a MiB for each, and compress every message once per socket.
    """

    def __init__(self, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                "controlpanel.asgi:application",
                log_level="warning",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=3,
                ws_max_size=64 * 1024,
                ws_per_message_deflate=False,
                proxy_headers=settings.BEHIND_TLS,
                forwarded_allow_ips=[str(network) for network in settings.PROXIES],
                server_header=False,
            )
        )
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the server. uvicorn would raise them again afterwards, into the stopping of the parts."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run this on uvicorn's choice of an event loop, which is one in C where there is one.

    That takes half the processor time for a message. And it lets go of Python's lock once for each, where Python's own loop
    does so at every read and write, and then waits behind all threads that compute.
    """
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        return runner.run(main)


async def serve(web: uvicorn.Server, listener: socket.socket, parts: Sequence[Part]) -> BaseException | None:
    """Run the parts, then the web server, until a signal or until one of them ends.

    Returns what crashed, or ``None`` after a clean stop.
    """
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    watch = asyncio.create_task(_stop_when_a_part_ends(web, ended, parts))
    try:
        for part in parts:
            await asyncio.to_thread(part.start, lambda: loop.call_soon_threadsafe(ended.set))
        await web.serve([listener])
    finally:
        watch.cancel()
        await asyncio.gather(*(asyncio.to_thread(part.stop) for part in parts))
    return _crash(parts)


async def _stop_when_a_part_ends(web: uvicorn.Server, ended: asyncio.Event, parts: Sequence[Part]) -> None:
    await ended.wait()
    log.error("a part of the panel ended, so all of it stops: %s", _crash(parts))
    web.should_exit = True


def _crash(parts: Sequence[Part]) -> BaseException | None:
    return next((part.crashed for part in parts if part.crashed), None)


def leave_within(seconds: float, status: int) -> None:
    """End this process after ``seconds`` even if a thread hangs in a driver or in a load that still runs."""
    timer = threading.Timer(seconds, os._exit, (status,))
    timer.daemon = True
    timer.start()
