"""What the backends have in common: an HTTP client, and a refusal for each call that not every server offers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from models_app.backends.errors import UnsupportedCall
from models_app.backends.http import Http
from models_app.backends.protocol import Generation, HeaderAnswer, LoadOptions, Progress

T = TypeVar("T")

LONG_PROMPT = "Count from one to two hundred in words, without leaving a number out: one, two, three,"
"""Asks for a text that goes on, so that a measurement of the speed is not cut short."""


class RefusingBackend:
    """Refuses every call that not each server offers. Subclasses override what theirs can do."""

    PROGRAM = "This server"
    REASON = "it has no such call"

    def load(self, name: str, options: LoadOptions) -> AsyncGenerator[Progress, None]:  # noqa: ARG002
        raise UnsupportedCall(f"{self.PROGRAM} cannot load {name}: {self.REASON}.")

    async def header(self, name: str) -> HeaderAnswer:
        raise UnsupportedCall(f"{self.PROGRAM} does not tell the header of {name}.")

    async def unload(self, name: str) -> None:
        raise UnsupportedCall(f"{self.PROGRAM} cannot unload {name}: {self.REASON}.")

    async def set_keep_alive(self, name: str, seconds: int, options: LoadOptions) -> None:  # noqa: ARG002
        raise UnsupportedCall(f"{self.PROGRAM} cannot keep {name} for {seconds} seconds: {self.REASON}.")

    async def generate(self, name: str, most_tokens: int, options: LoadOptions) -> Generation:  # noqa: ARG002
        raise UnsupportedCall(f"{self.PROGRAM} cannot write {most_tokens} tokens with {name}: {self.REASON}.")

    def pull(self, name: str) -> AsyncGenerator[Progress, None]:
        raise UnsupportedCall(f"{self.PROGRAM} cannot download {name}: {self.REASON}.")

    async def delete(self, name: str) -> None:
        raise UnsupportedCall(f"{self.PROGRAM} cannot delete {name}: {self.REASON}.")


class HttpBackend(RefusingBackend):
    """A backend over ``Http``."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Runs ``work`` beside the block; leaving the block, however that happens, cancels it and waits for its end."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
