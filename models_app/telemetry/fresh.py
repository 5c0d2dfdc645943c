"""Newest samples as they are in memory, for who shows them in the process that takes them in.

Whoever listens need not read them back, nor wait for their rows: a sample is ``shown`` as soon as it can be told whose the
bytes are, and the row follows. Where too little is known for that, it is told once its row is committed. Samples that
another process takes in come by their rows alone.
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
        """New samples of these hosts, in the thread that has them."""


_listeners: list[Listener] = []


def listen(listener: Listener) -> None:
    """Tell this one from now on."""
    _listeners.append(listener)


def unlisten(listener: Listener) -> None:
    """Tell it no longer."""
    if listener in _listeners:
        _listeners.remove(listener)


def is_wanted(host_id: int) -> bool:
    """Whether somebody in this process wants the samples of a host."""
    return any(host_id in listener.host_ids for listener in _listeners)


def show(newest: Latest) -> None:
    """Tell of a new sample now."""
    _tell({newest.host_id: lambda: newest})


def tell(written: Mapping[int, Callable[[], Latest]]) -> None:
    """Tell of new samples by their hosts' ids, once the current transaction has committed. They are made if wanted."""
    if _listeners:
        transaction.on_commit(partial(_tell, written), robust=True)


def _tell(written: Mapping[int, Callable[[], Latest]]) -> None:
    for listener in tuple(_listeners):
        if wanted := [written[host_id]() for host_id in listener.host_ids if host_id in written]:
            listener.sampled(wanted)
