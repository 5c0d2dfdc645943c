"""A request and an answer, as the handlers of the simulated servers see them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """One request, fully read. Header names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A status with a body: bytes at once, or chunks as they come. ``content_type`` ``None`` sends none."""

    status: int = 200
    body: bytes | AsyncGenerator[bytes, None] = b""
    content_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


class HttpError(Exception):
    """Raised by a handler to answer at once."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def json_answer(value: Any, status: int = 200, content_type: str = "application/json; charset=utf-8") -> Answer:
    """``value`` as compact JSON, as both kinds of server write it."""
    return Answer(status, json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(), content_type)


def ndjson_answer(lines: AsyncGenerator[dict[str, Any], None]) -> Answer:
    """One JSON object a line, each sent as soon as it is there."""
    return Answer(200, _encoded(lines), "application/x-ndjson")


async def _encoded(lines: AsyncGenerator[dict[str, Any], None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(lines):
        async for line in lines:
            yield json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
