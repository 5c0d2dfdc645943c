"""Processes by their identity: a pid alone is used again. Linux only."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from models_app.agent.supervision.launch import MARKER, Launch

PROC = Path("/proc")
_POLL_SECONDS = 0.02
_STATE, _SESSION, _START = 0, 3, 19
"""Positions in ``/proc/PID/stat`` after the name, which may hold spaces and brackets."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A process for good: ``start_ticks`` since the boot of that id. Another one with its pid has another start."""

    pid: int
    start_ticks: int
    boot_id: str


@cache
def boot_id() -> str:
    """The kernel's own name for the time since it started."""
    return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def identity_of(pid: int) -> Identity | None:
    """The identity of the process that has this pid now, were it dead but not yet reaped; ``None`` where there is none."""
    fields = _stat(pid)
    return Identity(pid, int(fields[_START]), boot_id()) if fields else None


def is_running(identity: Identity | None) -> bool:
    """Whether this very process runs; one that is dead and not yet reaped does not."""
    fields = _stat(identity.pid) if identity else []
    if not fields or identity is None:
        return False
    return fields[_STATE] not in "ZX" and (int(fields[_START]), boot_id()) == (identity.start_ticks, identity.boot_id)


def spawn(launch: Launch, output: int, on_exit: Callable[[int, int], None]) -> Identity:
    """Start a process in a session of its own, so that no signal to Berth reaches it. ``output`` is a file descriptor.

    ``on_exit(pid, status)`` is called in a thread once it has ended, if this process lives that long; a negative status is
    a signal. Raises ``OSError``.
    """
    child = subprocess.Popen(
        launch.argv,
        env=dict(launch.environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd="/",
        start_new_session=True,
    )
    identity = identity_of(child.pid)
    assert identity is not None, "a child that nobody has reaped is listed"  # noqa: S101
    threading.Thread(target=_reap, args=(child, on_exit), name=f"reap {child.pid}", daemon=True).start()
    return identity


def _reap(child: subprocess.Popen[bytes], on_exit: Callable[[int, int], None]) -> None:
    """Where somebody else was faster nobody knows the status; ``Popen`` would take it for 0."""
    with suppress(ChildProcessError):
        end = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        if end is not None:
            on_exit(child.pid, end.si_status if end.si_code == os.CLD_EXITED else -end.si_status)
    child.wait()


def family(identity: Identity | None, marker: str) -> frozenset[Identity]:
    """The process and everything that came from it: by its session, and by the mark in the environment."""
    found = {identity} if identity is not None and is_running(identity) else set()
    wanted = f"{MARKER}={marker}".encode()
    for entry in os.scandir(PROC):
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            fields = _stat(int(entry.name))
            in_session = identity in found and bool(fields) and int(fields[_SESSION]) == getattr(identity, "pid", 0)
            if in_session or (fields and fields[_STATE] not in "ZX" and wanted in _environment(int(entry.name))):
                member = identity_of(int(entry.name))
                found |= {member} if member else set()
    return frozenset(found)


def stop_all(members: Callable[[], Iterable[Identity]], grace_seconds: float) -> bool:
    """Terminate, terminate again, kill; each time everybody that is left. Whether all are gone.

    llama-server waits for its clients after the first signal and ends at once after the second.
    """
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
        left = [member for member in members() if is_running(member)]
        if not left:
            return True
        for member in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(member.pid, number)
        _await_end(left, grace_seconds)
    return not any(is_running(member) for member in members())


def _await_end(left: list[Identity], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(is_running(member) for member in left) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _stat(pid: int) -> list[str]:
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _environment(pid: int) -> list[bytes]:
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
