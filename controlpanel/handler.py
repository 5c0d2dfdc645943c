"""How HTTP requests meet Django under ASGI: one thread for a request, and the same threads for all of them."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase

MOST_IDLE_THREADS = 8


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
                await super().__call__(scope, receive, send)
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
