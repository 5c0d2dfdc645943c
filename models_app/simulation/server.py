"""Serves an application on a real loopback socket inside the running event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from models_app.simulation.asgi import Application


class _Protocol(HttpToolsProtocol):
    """Hands the transport to the application, which may have to close a connection without an answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class Serving:
    """One listening server. ``close`` makes its port refuse connections; ``open`` listens on the same port again."""

    def __init__(self, application: Application, port: int = 0, host: str = "127.0.0.1") -> None:
        self.application = application
        self.host = host
        self.port = port
        self._state = ServerState()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return f"http://{self.host}:{self.port}"

    async def open(self) -> None:
        """Listen. Raises ``OSError`` where the port is taken."""
        config = uvicorn.Config(self.application, lifespan="off", log_config=None, access_log=False, ws="none")
        listener = socket.create_server((self.host, self.port), backlog=128)
        # Accepted sockets inherit it; asyncio sets it only where the socket names its protocol.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = listener.getsockname()[1]
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Protocol(config=config, server_state=self._state, app_state={}), sock=listener
        )
        await self.application.start()

    async def close(self) -> None:
        """Stop listening, drop every connection and stop the application."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for connection in list(self._state.connections):
            connection.transport.abort()
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.application.stop()


@asynccontextmanager
async def serve(application: Application, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[Serving]:
    """Serve ``application`` while the block runs; ``port`` 0 takes a free one."""
    serving = Serving(application, port, host)
    await serving.open()
    try:
        yield serving
    finally:
        await serving.close()
