"""The bytes of a header, fetched as the reader gets to them: from a file, or by range requests from elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from models_app.gguf.errors import MalformedGguf, TruncatedGguf
from models_app.gguf.limits import MAX_HEADER_BYTES

FIRST_FETCH_BYTES = 1024**2

Fetch = Callable[[int, int], bytes]
"""``fetch(offset, length)`` returns those bytes, fewer only at the end of the file."""


class HeaderBytes:
    """A growing prefix of a file of ``size_bytes``. Each fetch doubles it, so a header costs few requests.

    Ranges are read rather than memory-mapped: a mapped file that shrinks while it is read ends the process.
    """

    def __init__(self, fetch: Fetch, size_bytes: int) -> None:
        self.buffer = bytearray()
        self.size_bytes = size_bytes
        self._fetch = fetch

    def require(self, end: int) -> None:
        """Make bytes up to ``end`` available. Raises ``TruncatedGguf`` or, beyond the limit, ``MalformedGguf``."""
        have = len(self.buffer)
        if end <= have:
            return
        if end > self.size_bytes:
            raise TruncatedGguf(f"The file has {self.size_bytes} bytes; its header needs at least {end}.")
        if end > MAX_HEADER_BYTES:
            raise MalformedGguf(f"The header is larger than {MAX_HEADER_BYTES} bytes.")
        wanted = min(max(end, 2 * have, FIRST_FETCH_BYTES), self.size_bytes, MAX_HEADER_BYTES)
        self.buffer += self._fetch(have, wanted - have)[: wanted - have]
        if len(self.buffer) < end:
            raise TruncatedGguf(f"Reading stopped at byte {len(self.buffer)}; the header needs at least {end}.")
