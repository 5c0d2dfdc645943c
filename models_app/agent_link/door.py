"""How others reach the process that holds an agent's socket, and the one beside it.

For a word to another process that is lost, the rows are looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import transaction

from models_app import live

GROUP = "agents"
COMMANDS, GONE, WATCHED = "agents.commands", "agents.gone", "agents.watched"
WATCHED_SECONDS = 10.0


_held: set[int] = set()
_begin_beside: Callable[[str], object] | None = None


def hold(agent_id: int, *, is_open: bool) -> None:
    """This process holds an agent's socket now, or no longer."""
    (_held.add if is_open else _held.discard)(agent_id)


def is_held(agent_id: int) -> bool:
    """Whether this process holds the agent's socket, so that it hears of the end of a command at once."""
    return agent_id in _held


def open_beside(begin: Callable[[str], object] | None) -> None:
    """A process beside this one begins works by their names from now on; ``None`` when it has ended."""
    global _begin_beside
    _begin_beside = begin


def ask_beside(work: str) -> bool:
    """Have the process beside this one do a work now, from any thread; whether there is such a process."""
    begin = _begin_beside
    if begin is not None:
        begin(work)
    return begin is not None


def tell_commands(agent_id: int) -> None:
    """There is something to send to an agent, or to cancel; said once the transaction has committed."""
    _tell({"type": COMMANDS, "agent": agent_id})


def watch(host_id: int) -> None:
    """Somebody looks at a host: for ``WATCHED_SECONDS`` its samples come, and are shown, as soon as they are taken."""
    _tell({"type": WATCHED, "host": host_id})


def tell_gone(agent_id: int) -> None:
    """The agent was revoked or replaced, or another socket speaks for it: the sockets that do not count any more close."""
    _tell({"type": GONE, "agent": agent_id})


def _tell(message: dict[str, Any]) -> None:
    transaction.on_commit(partial(live.send_to, GROUP, message), robust=True)
