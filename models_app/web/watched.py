"""Which hosts somebody looks at, said again and again to whoever receives the samples of many."""

from __future__ import annotations

import time
from collections.abc import Iterable

from models_app.agent_link.door import WATCHED_SECONDS, watch


class Watched:
    """The hosts on the screens of one process."""

    def __init__(self) -> None:
        self._host_ids: frozenset[int] = frozenset()
        self._due = 0.0

    def tell(self, host_ids: Iterable[int]) -> None:
        """Have the samples of these hosts come at once, however many others report."""
        now, wanted = time.monotonic(), frozenset(host_ids)
        if wanted == self._host_ids and now < self._due:
            return
        self._host_ids, self._due = wanted, now + WATCHED_SECONDS / 2
        for host_id in wanted:
            watch(host_id)
