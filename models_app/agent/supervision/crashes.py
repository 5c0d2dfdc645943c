"""What follows from the record of a server, and from how it ended.

Pure, but for the file in which its parent wrote the exit status.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from models_app.agent.supervision.processes import Identity, boot_id
from models_app.agent.supervision.records import Folder, Record
from models_app.backends.protocol import ServerProcess, ServerState

LAST_WORDS = 200
UNTOLD = "Berth was restarted since it started it, so the system told Berth no exit code."
LOOK = "If the kernel ended it for lack of memory, journalctl -k says so."
_STATUS_SECONDS = 0.5
"""The parent hears of the end a moment after everybody can see it."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient the supervisor is.

    A crash is followed by a pause of ``first_pause_seconds``, twice as long each time; more than ``most_crashes`` within
    ``crash_window_seconds`` and it gives up. ``grace_seconds`` is the time to heed a signal, ``log_bytes`` the longest log.
    """

    grace_seconds: float = 5.0
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 60.0
    most_crashes: int = 5
    crash_window_seconds: float = 600.0
    log_bytes: int = 8 * 1024**2


def after_crash(record: Record, why: str, pace: Pace, now: float) -> Record:
    """The record of a server that ended unasked: when it starts again, or that it does not."""
    crashes = (*(at for at in record.crashes if now - at < pace.crash_window_seconds), now)
    if len(crashes) > pace.most_crashes:
        problem = f"{why} It has ended {len(crashes)} times and is not started again by itself."
        return replace(record, crashes=crashes, problem=problem, wanted=False, given_up=True, restart_at=None)
    pause_seconds = min(pace.first_pause_seconds * 2 ** (len(crashes) - 1), pace.longest_pause_seconds)
    return replace(record, crashes=crashes, problem=why, restart_at=now + pause_seconds)


def state_of(record: Record, *, is_running: bool) -> ServerState:
    """In which state a server is whose process runs or does not."""
    if is_running:
        return ServerState.RUNNING if record.ready_at else ServerState.STARTING
    if record.given_up:
        return ServerState.GIVEN_UP
    if record.wanted and record.was_ready:
        return ServerState.RESTARTING
    is_being_started = record.wanted and record.identity is None
    return ServerState.STARTING if is_being_started else ServerState.STOPPED


def as_known(record: Record, running: Identity | None) -> ServerProcess:
    """What is known of a server whose process is ``running``, or is not."""
    state = state_of(record, is_running=running is not None)
    known = ServerProcess(state, restarts=len(record.crashes), problem=record.problem)
    if running is None:
        return known
    started_at = datetime.fromtimestamp(record.started_at or 0, UTC)
    digest = record.spec.digest
    return replace(known, process_id=running.pid, port=record.port, started_at=started_at, settings_digest=digest)


def ending(folder: Folder, record: Record, last_words: str = "", *, was_oom: bool = False) -> str:
    """How the record's process ended, in a sentence.

    Where nobody was told: its ``last_words``, which are the end of its log, and whether the kernel has just ended some
    process for lack of memory (``was_oom``).
    """
    if record.identity is None:
        return f"{record.spec.title} was not started."
    if record.identity.boot_id != boot_id():
        return f"{record.spec.title} ended when its machine was restarted."
    who = f"{record.spec.title} (pid {record.identity.pid})"
    status = _status(folder, record.identity.pid)
    if status is None:
        said = f"Its log ends with “{last_words[:LAST_WORDS]}”." if last_words else "Its log says nothing."
        if was_oom:
            return f"{who} has ended, as it seems by the kernel for lack of memory: journalctl -k names the process. {said}"
        return f"{who} has ended. {UNTOLD} {said} {LOOK}"
    if status < 0:
        return f"{who} was ended by signal {-status} ({_signal_name(-status)})."
    return f"{who} ended with exit code {status}."


def _status(folder: Folder, pid: int) -> int | None:
    deadline = time.monotonic() + _STATUS_SECONDS
    while (status := folder.exit_status(pid)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return status


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
