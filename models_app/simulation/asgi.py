"""The little of a web framework that the simulated servers need: routes, faults and background tasks.

One ``Application`` is one simulated server. Handlers are coroutines ``(Request) -> Answer``; when the client closes the
connection the handler is cancelled, which is how a real server's abandoned load behaves.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qsl

from models_app.simulation.faults import Fault, Faults
from models_app.simulation.messages import Answer, HttpError, Request, json_answer

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

REQUESTS_KEPT = 10_000
HUGE_BODY_BYTES = 10 * 1024 * 1024


Handler = Callable[[Request], Awaitable[Answer]]


class Application:
    """An ASGI application with a table of routes, injectable faults and background tasks.

    ``control=True`` opens ``/simulation/faults`` (GET, POST, DELETE) for tests that run it in another process.
    """

    unknown_path = Answer(404, b"404 page not found", "text/plain")
    wrong_method = unknown_path

    def __init__(self, *, control: bool = False) -> None:
        self.faults = Faults()
        self.requests: deque[tuple[str, str]] = deque(maxlen=REQUESTS_KEPT)
        """The latest (method, path) that came in, in order: the demo runs for days."""
        self._routes: dict[str, dict[str, Handler]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        if control:
            self.route("GET", "/simulation/faults", self._list_faults)
            self.route("POST", "/simulation/faults", self._add_fault)
            self.route("DELETE", "/simulation/faults", self._clear_faults)

    def route(self, method: str, path: str, handler: Handler) -> None:
        """Answer ``method path`` with ``handler``."""
        self._routes.setdefault(path, {})[method] = handler

    def background(self, work: Awaitable[Any]) -> asyncio.Task[Any]:
        """Run ``work`` beside the requests; ``stop`` cancels it."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def start(self) -> None:
        """Called when the server begins to listen."""

    async def stop(self) -> None:
        """Called when the server has stopped listening: cancels what runs in the background."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def guard(self, request: Request) -> Answer | None:
        """An answer that precedes every route (keys, host headers), or ``None``."""

    async def respond(self, request: Request) -> Answer:
        """Route the request to its handler."""
        methods = self._routes.get(request.path)
        if methods is None:
            return self.unknown_path
        handler = methods.get(request.method)
        if handler is None:
            return self.wrong_method
        try:
            return await handler(request)
        except HttpError as error:
            return error.answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = await _read(scope, receive)
        self.requests.append((request.method, request.path))
        work = asyncio.ensure_future(self._serve(scope, request, send))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not work.done():
                work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        if not work.cancelled():
            work.result()

    async def _serve(self, scope: Scope, request: Request, send: Send) -> None:
        if not request.path.startswith("/simulation/"):
            if self.faults.take(Fault.CLOSE, request.path):
                await _abort(scope)
                return
            if self.faults.take(Fault.HANG, request.path):
                await asyncio.Event().wait()
        try:
            answer = _faulty_answer(self.faults, request) or await self.guard(request) or await self.respond(request)
        except ConnectionAbortedError:
            await _abort(scope)
        else:
            await _send(answer, send)

    async def _list_faults(self, _request: Request) -> Answer:
        return json_answer({"faults": [fault.value for fault in self.faults.active()]})

    async def _add_fault(self, request: Request) -> Answer:
        wanted = json.loads(request.body)
        self.faults.add(Fault(wanted["fault"]), times=wanted.get("times"), path=wanted.get("path", ""))
        return await self._list_faults(request)

    async def _clear_faults(self, request: Request) -> Answer:
        self.faults.clear()
        return await self._list_faults(request)


def _faulty_answer(faults: Faults, request: Request) -> Answer | None:
    if request.path.startswith("/simulation/"):
        return None
    if faults.take(Fault.GARBAGE, request.path):
        return Answer(200, b"<html>\xff\xfe not what you asked for", "application/json")
    if faults.take(Fault.HUGE_BODY, request.path):
        return Answer(200, b'{"models":["' + b"x" * HUGE_BODY_BYTES + b'"]}', "application/json")
    if faults.take(Fault.REDIRECT, request.path):
        return Answer(302, headers={"location": "http://169.254.169.254/latest/meta-data/"})
    if faults.take(Fault.UNAUTHORIZED, request.path):
        return json_answer({"error": "unauthorized"}, 401)
    if faults.take(Fault.SERVER_ERROR, request.path):
        return json_answer({"error": "something broke"}, 500)
    return None


async def _read(scope: Scope, receive: Receive) -> Request:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
    return Request(scope["method"], scope["path"], query, headers, body)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _abort(scope: Scope) -> None:
    """Close the connection without a word. The transport is put into the state by ``server.serve``."""
    scope["state"]["transport"].abort()
    await asyncio.sleep(0)


async def _send(answer: Answer, send: Send) -> None:
    headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    if answer.content_type is not None:
        headers.append((b"content-type", answer.content_type.encode()))
    if isinstance(answer.body, bytes):
        headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})
        return
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    async with aclosing(answer.body):
        async for chunk in answer.body:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
