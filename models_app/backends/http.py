"""The one HTTP client of every backend: guarded addresses, bounded time and size, and one error family."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, TypeVar

import httpx

from models_app.backends.address import AddressPolicy
from models_app.backends.errors import BackendError, BadAnswer, Rejected
from models_app.backends.failures import error_from_exception, error_from_status
from models_app.backends.shapes import decoded
from models_app.backends.transport import GuardedTransport

MIB = 1024 * 1024
CONNECT_SECONDS = 3.0
DECODED_AT_ONCE_BYTES = MIB
"""A larger answer is decoded in a thread: the event loop goes on meanwhile."""

# The header has whole seconds, and the answer takes a moment.
_DATE_PRECISION = timedelta(seconds=3)
# A clock that was never set is at 1970; what is further off is no clock, and would overflow what is reckoned with it.
_MOST_SKEW = timedelta(days=36_525)

T = TypeVar("T")


class Call(StrEnum):
    """The kinds of calls. Each has connections of its own, so that a slow kind never starves a quick one."""

    POLL = "poll"
    """A cheap question that is asked again and again."""
    COMMAND = "command"
    """An order that is answered soon."""
    LOAD = "load"
    """A call that is answered when a model has been loaded."""
    STREAM = "stream"
    """An answer that goes on: a download, or events."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how large an answer may be. ``stream_idle_seconds`` bounds the silence between two lines."""

    poll_seconds: float = 5.0
    command_seconds: float = 30.0
    load_seconds: float = 600.0
    stream_seconds: float = 24 * 3600.0
    stream_idle_seconds: float = 300.0
    answer_bytes: int = 4 * MIB
    error_bytes: int = 64 * 1024
    line_bytes: int = 256 * 1024

    def seconds(self, call: Call) -> float:
        """The most seconds that a call of this kind takes in all."""
        return {
            Call.POLL: self.poll_seconds,
            Call.COMMAND: self.command_seconds,
            Call.LOAD: self.load_seconds,
            Call.STREAM: self.stream_seconds,
        }[call]


_MAX_CONNECTIONS = {Call.POLL: 4, Call.COMMAND: 4, Call.LOAD: 16, Call.STREAM: 16}


class Http:
    """Calls to one endpoint. ``transport`` replaces the network in tests. Every method raises ``BackendError`` only."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str = "",
        policy: AddressPolicy | None = None,
        limits: Limits | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if not (api_key.isascii() and api_key.isprintable()):
            raise Rejected("The API key holds characters that no HTTP header can carry.")
        if api_key != api_key.strip():  # the client would refuse it too, and name it in its error
            raise Rejected("The API key begins or ends with a space, which no HTTP header can carry.")
        self.policy = policy or AddressPolicy()
        self.limits = limits or Limits()
        self.base = httpx.URL(self.policy.check_url(url))
        self._api_key = api_key
        self._transport = transport
        self._clients: dict[Call, httpx.AsyncClient] = {}
        self.clock_skew = timedelta()
        """How far the server's clock was ahead of ours at its last answer; zero within the ``Date`` header's precision."""

    async def json(
        self,
        method: str,
        path: str,
        *,
        call: Call = Call.POLL,
        body: dict[str, Any] | None = None,
        query: dict[str, str] | None = None,
        most_bytes: int | None = None,
    ) -> Any:
        """The decoded answer; ``None`` where the answer is empty. ``most_bytes`` allows an uncommonly large one."""
        seconds = self.limits.seconds(call)
        async with self._translated(), asyncio.timeout(seconds), self._answer(method, path, call, body, query) as answer:
            content = await self._read(answer, most_bytes or self.limits.answer_bytes)
        if len(content) > DECODED_AT_ONCE_BYTES:
            return await asyncio.to_thread(decoded, content)
        return decoded(content) if content else None

    async def lines(self, method: str, path: str, *, body: dict[str, Any] | None = None) -> AsyncGenerator[bytes, None]:
        """The answer line by line, as it comes. Closing the generator closes the connection."""
        deadline = asyncio.get_running_loop().time() + self.limits.stream_seconds
        async with self._translated(), self._answer(method, path, Call.STREAM, body, None) as answer:
            rest = b""
            chunks = answer.aiter_bytes()
            while chunk := await self._before(deadline, anext(chunks, b"")):
                *complete, rest = (rest + chunk).split(b"\n")
                if max(len(line) for line in (rest, *complete)) > self.limits.line_bytes:
                    raise BadAnswer(f"A line of the answer is longer than {self.limits.line_bytes} bytes.")
                for line in complete:
                    yield line
            if rest:
                yield rest

    async def _before(self, deadline: float, waiting: Awaitable[T]) -> T:
        """What is waited for, unless it takes longer than silence or the whole answer may last."""
        silent_until = asyncio.get_running_loop().time() + self.limits.stream_idle_seconds
        async with asyncio.timeout_at(min(deadline, silent_until)):
            return await waiting

    async def aclose(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    @asynccontextmanager
    async def _answer(
        self, method: str, path: str, call: Call, body: dict[str, Any] | None, query: dict[str, str] | None
    ) -> AsyncIterator[httpx.Response]:
        """A 2xx answer whose body is still to be read."""
        url = self.base.copy_with(path=self.base.path.rstrip("/") + path, params=query)
        async with self._client(call).stream(method, url, json=body) as response:
            self.clock_skew = _clock_skew(response)
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise BadAnswer("It answered compressed, which was not asked for.", status=response.status_code)
            if not response.is_success:
                raise error_from_status(response.status_code, await self._read(response, self.limits.error_bytes))
            yield response

    def _client(self, call: Call) -> httpx.AsyncClient:
        if call not in self._clients:
            silence = self.limits.stream_idle_seconds if call is Call.STREAM else self.limits.seconds(call)
            self._clients[call] = httpx.AsyncClient(
                transport=self._transport or GuardedTransport(self.policy, _MAX_CONNECTIONS[call]),
                timeout=httpx.Timeout(silence, connect=CONNECT_SECONDS),
                headers=self._headers(),
                trust_env=False,
                follow_redirects=False,
            )
        return self._clients[call]

    def _headers(self) -> dict[str, str]:
        """No compression is asked for: an answer's size on the wire is its size in memory."""
        headers = {"Accept-Encoding": "identity", "User-Agent": "Berth"}
        return headers | ({"Authorization": f"Bearer {self._api_key}"} if self._api_key else {})

    async def _read(self, response: httpx.Response, most_bytes: int) -> bytes:
        content = bytearray()
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > most_bytes:
                raise BadAnswer(f"The answer is larger than {most_bytes // 1024} KiB.", status=response.status_code)
        return bytes(content)

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        """Turns whatever goes wrong inside into the error family, without the key."""
        try:
            yield
        except BackendError as error:
            raise self._without_key(error) from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise self._without_key(error_from_exception(error, self.base)) from error

    def _without_key(self, error: BackendError) -> BackendError:
        if self._api_key and self._api_key in error.message:
            error.message = error.message.replace(self._api_key, "…")
            error.args = (error.message,)
        return error


def _clock_skew(response: httpx.Response) -> timedelta:
    try:
        skew = parsedate_to_datetime(response.headers.get("Date", "")) - datetime.now(UTC)
    except (ValueError, TypeError, OverflowError):
        return timedelta()
    return skew if _DATE_PRECISION < abs(skew) <= _MOST_SKEW else timedelta()
