"""Servers for the tests of the backends: one that sends any bytes, and one that replays recorded answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

RECORDED = Path(__file__).resolve().parents[1] / "fixtures" / "recorded"

Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Listen = Callable[[Conversation], Awaitable[str]]


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    """Starts a TCP server that holds the given conversation with each client; the call returns its URL."""
    async with AsyncExitStack() as running:

        async def start(conversation: Conversation) -> str:
            async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                try:
                    await conversation(reader, writer)
                except (ConnectionError, asyncio.IncompleteReadError):
                    pass
                finally:
                    writer.close()

            server = await running.enter_async_context(await asyncio.start_server(converse, "127.0.0.1", 0))
            return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

        yield start


def says(*answer: bytes) -> Conversation:
    """A conversation that reads one request and sends these bytes."""

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"".join(answer))  # writelines of nothing never ends on Python 3.12 and 3.13
        await writer.drain()

    return conversation


def http_answer(status: str, body: bytes, headers: str = "") -> bytes:
    """The bytes of an HTTP answer with its length."""
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Replay(httpx.MockTransport):
    """Answers each ``"METHOD /path"`` with a recorded or a given answer, and keeps the requests.

    A list of answers is used up one by one; the last one stays.
    """

    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__(self._answer)
        self.answers = answers
        self.requests: list[tuple[str, Any]] = []

    def _answer(self, request: httpx.Request) -> httpx.Response:
        call = f"{request.method} {request.url.path}"
        self.requests.append((call, json.loads(request.content) if request.content else None))
        answer = self.answers[call]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, httpx.Response):
            return answer
        return recorded(answer) if isinstance(answer, str) else httpx.Response(200, json=answer)


def recorded(name: str) -> httpx.Response:
    """An answer that was recorded from a real server, by the name of its file."""
    answer = json.loads((RECORDED / f"{name}.json").read_text())
    body, headers = answer["body"], answer.get("headers", {})
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    kept = {"Date": headers["Date"]} if "Date" in headers else {}
    return httpx.Response(answer["status"], content=content, headers=kept)
