"""A thread of the embedded panel. All parts run, or none does."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress

STOP_SECONDS = 5.0


class Part(ABC):
    """Runs ``work`` in a thread. ``crashed`` is set when that ends without ``stop`` having been called."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.crashed: BaseException | None = None
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=f"berth-{name}", daemon=True)
        self._on_end: Callable[[], object] = object

    def start(self, on_end: Callable[[], object]) -> None:
        """Return once the part works; ``on_end`` is called from its thread when it has ended."""
        self._on_end = on_end
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end and wait for it, at most ``STOP_SECONDS``."""
        self._is_stopping = True
        if self._thread.is_alive():
            self.ask_to_stop()
            self._thread.join(STOP_SECONDS)

    @abstractmethod
    def work(self) -> None:
        """What the thread does, until ``ask_to_stop``."""

    @abstractmethod
    def ask_to_stop(self) -> None:
        """Called from another thread; does not wait."""

    def _run(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.crashed = error
        if not self._is_stopping and self.crashed is None:
            self.crashed = RuntimeError(f"the {self.name} ended by itself")
        with suppress(RuntimeError):  # the loop that waited for it has closed meanwhile
            self._on_end()
