"""What can go wrong with a simulated server, switched on and off while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """One way to misbehave. The first seven concern any request, the others loading and unloading."""

    CLOSE = "close"
    """The connection is closed without an answer."""
    HANG = "hang"
    """No answer until the client gives up."""
    GARBAGE = "garbage"
    """200 with a body that is not JSON."""
    HUGE_BODY = "huge_body"
    """200 with 10 MiB of JSON."""
    REDIRECT = "redirect"
    """302 to a cloud's metadata address."""
    UNAUTHORIZED = "unauthorized"
    """401."""
    SERVER_ERROR = "server_error"
    """500 with a text that says nothing."""
    OUT_OF_MEMORY = "out_of_memory"
    """A load fails as if the GPU were full."""
    DIE_WHILE_LOADING = "die_while_loading"
    """The runner is killed half-way through a load."""
    PRETEND_TO_LOAD = "pretend_to_load"
    """A load is answered with success, and nothing is loaded."""
    STALL_LOAD = "stall_load"
    """A load comes half-way and never ends."""
    HOLD_MEMORY = "hold_memory"
    """An unloaded model is listed no more, yet its process keeps the memory."""
    LEAK = "leak"
    """An unloaded model's process lives on with a little of its memory."""
    STUCK_STOPPING = "stuck_stopping"
    """An unload is acknowledged, and the model stays listed with its memory."""
    RELOAD_DURING_UNLOAD = "reload_during_unload"
    """Another client loads the model again as soon as it is unloaded."""


@dataclass(slots=True)
class _Injected:
    fault: Fault
    times: int | None
    path: str


class Faults:
    """The faults of one server. A fault lasts until removed, or for ``times`` occasions."""

    def __init__(self) -> None:
        self._injected: list[_Injected] = []

    def add(self, fault: Fault, *, times: int | None = None, path: str = "") -> None:
        """Misbehave from now on. ``path`` limits a request fault to paths that begin with it."""
        self._injected.append(_Injected(fault, times, path))

    def remove(self, fault: Fault) -> None:
        """Behave well again in this respect."""
        self._injected = [injected for injected in self._injected if injected.fault is not fault]

    def clear(self) -> None:
        """Behave well again in every respect."""
        self._injected.clear()

    def active(self) -> list[Fault]:
        """The faults that will still happen, oldest first."""
        return [injected.fault for injected in self._injected]

    def take(self, fault: Fault, path: str = "") -> bool:
        """Whether ``fault`` happens now; an occasion of it is used up."""
        for injected in self._injected:
            if injected.fault is fault and path.startswith(injected.path):
                return self._use(injected)
        return False

    def _use(self, injected: _Injected) -> bool:
        if injected.times is not None:
            injected.times -= 1
            if injected.times <= 0:
                self._injected.remove(injected)
        return True
