"""What the process that holds agents' sockets and the one that takes in what comes over them say to each other.

MessagePack over a pair of sockets, each word after its length. Both processes are of the same program and trust each other;
what an agent said is passed on unread.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import TypeAlias, TypeVar

import msgspec

LENGTH_BYTES = 4
MOST_WAITING_BYTES = 64 * 1024**2
"""Of words that the other process has not read: more than a minute of a thousand hosts."""


class Word(msgspec.Struct, tag=True, array_like=True):
    """``line`` is the number of an agent's open line."""


class Opened(Word):
    """An agent is let in; everything up to ``received`` is stored."""

    line: int
    agent_id: int
    host_id: int
    boot_id: str
    received: int


class Said(Word):
    """The agent's message."""

    line: int
    text: str


class Closed(Word):
    """The agent has gone, or another line speaks for it."""

    line: int


class Watched(Word):
    """Somebody looks at this line's host."""

    line: int
    seconds: float


class Due(Word):
    """It is time for a work that is done beside, whose name this is."""

    work: str


class Stored(Word):
    """By line, the sequence up to which everything that came is stored."""

    sequences: dict[int, int]


class Refused(Word):
    """The line is to be closed, with this code."""

    line: int
    code: int


class Happened(Word):
    """A live event that its listeners in the other process would not hear of."""

    topic: str
    object_id: int
    revision: int


FromPanel: TypeAlias = Opened | Said | Closed | Watched | Due
ToPanel: TypeAlias = Stored | Refused | Happened
W = TypeVar("W", bound=Word)


class Wire:
    """One end. Words that are sent before it is open wait."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: list[bytes] = []

    def send(self, word: Word) -> None:
        """Say this after what was said before; it does not wait."""
        packed = msgspec.msgpack.encode(word)
        framed = len(packed).to_bytes(LENGTH_BYTES, "big") + packed
        if self._writer is None:
            self._waiting.append(framed)
        else:
            self._writer.write(framed)

    @property
    def waiting_bytes(self) -> int:
        """What was said and the other end has not read."""
        return sum(map(len, self._waiting)) if self._writer is None else self._writer.transport.get_write_buffer_size()

    async def heard(self, decoder: msgspec.msgpack.Decoder[W]) -> AsyncIterator[W]:
        """Open it; what the other end says, until that closes."""
        reader, self._writer = await asyncio.open_connection(sock=self._end)
        self._writer.write(b"".join(self._waiting))
        self._waiting.clear()
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
                yield decoder.decode(await reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.close()

    def close(self) -> None:
        """Hang up; what was said still arrives."""
        if self._writer is None:
            self._end.close()
        else:
            self._writer.close()
