"""How HTTP requests meet Django under ASGI: bounded bodies, one thread for a request, the same threads for all of them."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase

MOST_IDLE_THREADS = 8
MOST_BODY_BYTES = 4 * 1024**2
"""Forms and JSON may have less, by Django's setting. This holds for whatever comes: Django first writes it to the disk."""

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class BodyTooLarge(Exception):
    """More came than any request has to say."""


class Handler(ASGIHandler):
    """Django's handler for middleware and views that are synchronous, as all of the panel's are.

    Django's own takes each middleware in turn to a thread and back, and makes a new thread for each request, whose
    connection to the database is a new one too. This one runs a request in one go, and its threads outlive it.
    ``docs/benchmarks.md`` has what that saves.
    """

    def __init__(self) -> None:
        self._idle: deque[ThreadPoolExecutor] = deque()
        super().__init__()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        thread = self._idle.pop() if self._idle else ThreadPoolExecutor(max_workers=1, thread_name_prefix="request")
        try:
            async with ThreadSensitiveContext(executor=thread):
                await super().__call__(scope, _bounded(receive), send)
        except BodyTooLarge:
            await _refuse(send)
        finally:
            self._put_back(thread)

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: ARG002 - the answer to it is always no
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """The response, made by Django's synchronous path in the request's thread."""
        return await sync_to_async(self.get_response)(request)

    def _put_back(self, thread: ThreadPoolExecutor) -> None:
        if len(self._idle) < MOST_IDLE_THREADS:
            self._idle.append(thread)
        else:
            thread.shutdown(wait=False)


def _bounded(receive: Receive) -> Receive:
    """The same, as long as the body does not grow beyond all measure. It then raises ``BodyTooLarge``."""
    left_bytes = MOST_BODY_BYTES

    async def receive_bounded() -> Any:
        nonlocal left_bytes
        message = await receive()
        left_bytes -= len(message.get("body", b""))
        if left_bytes < 0:
            raise BodyTooLarge
        return message

    return receive_bounded


async def _refuse(send: Send) -> None:
    """A problem document, and the end of the connection: what else comes is not read."""
    problem = {
        "type": "about:blank",
        "title": HTTPStatus.REQUEST_ENTITY_TOO_LARGE.phrase,
        "status": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "code": "too_large",
        "detail": f"The request's body is too large: send at most {MOST_BODY_BYTES // 1024:,} KiB.",
    }
    headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": problem["status"], "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(problem).encode()})
