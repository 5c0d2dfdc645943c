"""Newest samples as they are in memory, for who shows them in the process that has just written them.

Whoever listens is told once the rows are committed, and need not read them back. Samples that another process writes come
by their rows alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Protocol

from django.db import transaction

from models_app.telemetry.latest import Latest


class Listener(Protocol):
    """Who wants the samples of the hosts that it names."""

    @property
    def host_ids(self) -> Collection[int]: ...

    def sampled(self, samples: Sequence[Latest]) -> None:
        """New samples of these hosts, in the thread that has written them."""


_listeners: list[Listener] = []


def listen(listener: Listener) -> None:
    """Tell this one from now on."""
    _listeners.append(listener)


def unlisten(listener: Listener) -> None:
    """Tell it no longer."""
    if listener in _listeners:
        _listeners.remove(listener)


def tell(written: Mapping[int, Callable[[], Latest]]) -> None:
    """Tell of new samples by their hosts' ids, once the current transaction has committed. They are made if wanted."""
    if _listeners:
        transaction.on_commit(partial(_tell, written))


def _tell(written: Mapping[int, Callable[[], Latest]]) -> None:
    for listener in tuple(_listeners):
        if wanted := [written[host_id]() for host_id in listener.host_ids if host_id in written]:
            listener.sampled(wanted)
