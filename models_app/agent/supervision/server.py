"""One server of this machine: started, found, watched, restarted, stopped. Every method may be called from any process."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from models_app.agent.supervision import logs, processes
from models_app.agent.supervision.allowed import Allowed, read_allowed
from models_app.agent.supervision.crashes import Pace, after_crash, as_known, ending
from models_app.agent.supervision.kinds import launch_of
from models_app.agent.supervision.ports import free_port
from models_app.agent.supervision.records import Folder, Record, Running
from models_app.agent.supervision.spec import Spec
from models_app.backends.errors import BackendError, LoadFailed, Rejected
from models_app.backends.protocol import ServerProcess, ServerState
from models_app.probes.memory import oom_kills


class Server:
    """``folder`` holds its record, ``allow_file`` is the owner's."""

    def __init__(self, folder: Folder, allow_file: Path, pace: Pace) -> None:
        self._folder = folder
        self._allow_file = allow_file
        self._pace = pace
        self._marker = str(folder.path.absolute())

    def api_key(self) -> str:
        """The key that the server asks for."""
        return self._folder.api_key()

    def start(self, spec: Spec, avoid: Collection[int] = ()) -> Running:
        """Start it, or find it running with this very spec. Returns before it serves.

        ``avoid`` are ports that others use. Raises ``NotAllowed``, ``InvalidOption``, ``Rejected`` where it runs with
        another spec, ``Busy`` and ``LoadFailed``; nothing has been started then.
        """
        self._folder.make()
        with self._folder.lock():
            record = self._folder.read()
            if record and processes.is_running(record.identity):
                return self._found(record, spec)
            self._clear(record)
            return self._spawn(Record(spec), avoid)

    def stop(self, problem: str = "") -> None:
        """Stop it and everything that it started; it stays stopped. ``problem`` is kept as the reason.

        Raises ``LoadFailed`` where a process survives even SIGKILL, as one stuck in a driver call does.
        """
        self._folder.make()
        with self._folder.lock():
            self._stop(problem)

    def look(self) -> ServerProcess:
        """What is known of it now; takes no lock."""
        record = self._folder.read()
        if record is None:
            return ServerProcess(ServerState.STOPPED)
        return as_known(record, record.identity if processes.is_running(record.identity) else None)

    def why_ended(self) -> str:
        """How its last process ended, in a sentence."""
        record = self._folder.read()
        return self._ending(record) if record else "It was never started."

    def log_tail(self, count: int) -> list[str]:
        """The last lines that its present or last process has logged."""
        record = self._folder.read()
        return logs.tail(self.log_path(), count, record.log_offset if record else 0)

    def family(self) -> frozenset[processes.Identity]:
        """Its process and all that came from it; walks through every process of the machine."""
        record = self._folder.read()
        return processes.family(record.identity if record else None, self._marker)

    def note_ready(self) -> None:
        """It serves: from now on it is started again when it ends unasked."""
        with suppress(FileNotFoundError), self._folder.lock():
            record = self._folder.read()
            if record and record.wanted and record.ready_at is None and processes.is_running(record.identity):
                self._write(replace(record, ready_at=time.time(), was_ready=True))

    def port(self) -> int | None:
        """Where it listens while it runs."""
        record = self._folder.read()
        return record.port if record and processes.is_running(record.identity) else None

    def tend(self, oom_kills_before: int | None = None) -> None:
        """Restart it where it has crashed and its pause is over; keep its log short.

        ``oom_kills_before`` is what the kernel had counted when it was last seen to run.
        Raises ``Busy`` at once, and ``FileNotFoundError`` where it was forgotten.
        """
        with self._folder.lock(0):
            logs.rotate(self.log_path(), self._pace.log_bytes)
            record = self._folder.read()
            if record is None or not record.wanted or not record.was_ready:
                return
            if processes.is_running(record.identity):
                self._tend_running(record)
            elif record.restart_at is None:
                was_oom = oom_kills_before is not None and oom_kills() > oom_kills_before
                self._crashed(record, self._ending(record, was_oom=was_oom))
            elif time.time() >= record.restart_at:
                self._restart(record)

    def forget(self) -> None:
        """Stop it and remove what is known of it, its log included."""
        self._folder.make()
        with self._folder.lock():
            self._stop("")
            logs.remove(self.log_path())
            self._folder.remove()

    def log_path(self, allowed: Allowed | None = None) -> Path:
        """Where its log lies, whether or not anything may be started now."""
        try:
            folder = (allowed or read_allowed(self._allow_file)).log_folder
        except BackendError:
            folder = None
        return (folder or self._folder.path) / f"{self._folder.key}.log"

    def _stop(self, problem: str) -> None:
        record = self._folder.read()
        if record is not None:
            self._write(replace(record, wanted=False, restart_at=None, given_up=False, crashes=(), problem=problem))
        self._clear(record)

    def _tend_running(self, record: Record) -> None:
        """A restarted server has as long to load its model as the owner allows."""
        limit_seconds = read_allowed(self._allow_file).start_seconds
        if record.ready_at is None and time.time() - (record.started_at or 0) > limit_seconds:
            self._crashed(record, f"{record.spec.name} did not become healthy within {limit_seconds:g} seconds.")

    def _ending(self, record: Record, *, was_oom: bool = False) -> str:
        last_words = "".join(logs.tail(self.log_path(), 1, record.log_offset))
        return ending(self._folder, record, last_words, was_oom=was_oom)

    def _crashed(self, record: Record, why: str) -> None:
        self._clear(record)
        self._write(after_crash(record, why, self._pace, time.time()))

    def _restart(self, record: Record) -> None:
        """What may not be started any more counts as a crash: it is tried again, but not for ever."""
        try:
            self._spawn(record, ())
        except BackendError as error:
            self._crashed(record, error.message)

    def _found(self, record: Record, spec: Spec) -> Running:
        if record.spec != spec:
            raise Rejected(f"{spec.name} runs with other settings.", hint="Restart it to apply the new ones.")
        if not record.wanted:
            self._write(replace(record, wanted=True))
        return Running(record.identity.pid if record.identity else 0, record.port or 0, self.log_path(), record.log_offset)

    def _spawn(self, record: Record, avoid: Collection[int]) -> Running:
        """The record says what will be before it is: a process that nobody wrote down is found by its mark, and ended."""
        allowed = read_allowed(self._allow_file)
        port = free_port(allowed.ports, avoid)
        self._folder.api_key()
        command = launch_of(record.spec, allowed, port, self._folder.key_file, self._marker)
        path = self.log_path(allowed)
        fresh = replace(record, wanted=True, identity=None, port=port, started_at=time.time(), ready_at=None)
        fresh = replace(fresh, restart_at=None, given_up=False, log_offset=logs.size_bytes(path))
        self._write(fresh)
        descriptor = logs.open_log(path)
        try:
            identity = processes.spawn(command, descriptor, self._folder.write_exit)
        except OSError as error:
            raise LoadFailed(f"{command.argv[0]} could not be started: {error.strerror}.") from error
        finally:
            os.close(descriptor)
        self._write_started(replace(fresh, identity=identity))
        return Running(identity.pid, port, path, fresh.log_offset)

    def _write_started(self, record: Record) -> None:
        try:
            self._write(record)
        except LoadFailed:
            self._clear(record)
            raise

    def _clear(self, record: Record | None) -> None:
        """End whatever is left of it. Raises ``LoadFailed`` where something stays."""
        identity = record.identity if record else None
        if not processes.stop_all(lambda: processes.family(identity, self._marker), self._pace.grace_seconds):
            raise LoadFailed("A process of the server does not end, not even by SIGKILL.", hint="Look at it on its host.")

    def _write(self, record: Record) -> None:
        try:
            self._folder.write(record)
        except OSError as error:
            raise LoadFailed(f"{self._folder.path} cannot be written: {error.strerror}.") from error
