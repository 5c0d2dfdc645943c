"""What is known of each server on disk, so that any process of Berth can go on from there: one folder a server."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models_app.agent.supervision.kinds import spec_from_json
from models_app.agent.supervision.processes import Identity
from models_app.agent.supervision.spec import Spec
from models_app.backends.errors import BackendError, Busy, InvalidName

MAX_RECORD_BYTES = 256 * 1024
LOCK_SECONDS = 30.0
_LOCK_POLL_SECONDS = 0.02
_KEY = re.compile(r"[a-z0-9]{1,40}")


@dataclass(frozen=True, slots=True)
class Record:
    """One server. Times are seconds since the epoch.

    ``wanted``: it was asked for and is to run. ``ready_at`` is when this process first served, ``was_ready`` whether any
    has since it was asked for: only then does it start again by itself. ``crashes`` are the times at which it ended
    unasked, ``problem`` how it did last. ``log_offset`` is where the log of this process begins.
    """

    spec: Spec
    wanted: bool = False
    identity: Identity | None = None
    port: int | None = None
    started_at: float | None = None
    ready_at: float | None = None
    was_ready: bool = False
    crashes: tuple[float, ...] = ()
    restart_at: float | None = None
    given_up: bool = False
    problem: str = ""
    log_offset: int = 0


@dataclass(frozen=True, slots=True)
class Running:
    """A server that has been started, or was found running: where it listens and where its log begins."""

    process_id: int
    port: int
    log: Path
    log_offset: int


class Folder:
    """The folder of one server. Raises ``InvalidName`` for a key that is no plain word."""

    def __init__(self, parent: Path, key: str) -> None:
        if not _KEY.fullmatch(key):
            raise InvalidName(f"{key!r} is no key of a server.")
        self.key = key
        self.path = parent / key

    @property
    def key_file(self) -> Path:
        """Where the API key lies."""
        return self.path / "api-key"

    def read(self) -> Record | None:
        """The record; ``None`` where there is none that makes sense."""
        try:
            with (self.path / "record.json").open("rb") as file:
                return _record(json.loads(file.read(MAX_RECORD_BYTES)))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, BackendError):
            return None

    def write(self, record: Record) -> None:
        """Replace the record at once and for good. Raises ``OSError``, and then the old one stands."""
        self._write("record.json", json.dumps(asdict(record)))

    def read_spec(self) -> Spec | None:
        """With what the server is to be started next, where that is kept here."""
        try:
            return spec_from_json(json.loads((self.path / "spec.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, AttributeError, BackendError):
            return None

    def write_spec(self, spec: Spec) -> None:
        """Keep it. Raises ``OSError``."""
        self.make()
        self._write("spec.json", json.dumps(spec.as_json()))

    def write_exit(self, pid: int, status: int) -> None:
        """Remember how a process ended, as its parent was told."""
        with suppress(OSError):
            self._write("exit.json", json.dumps({"pid": pid, "status": status}))

    def exit_status(self, pid: int) -> int | None:
        """How a process ended: its exit code, or less than 0 for a signal; ``None`` where nobody was told."""
        try:
            told = json.loads((self.path / "exit.json").read_text(encoding="utf-8"))
            return int(told["status"]) if told["pid"] == pid else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def api_key(self) -> str:
        """The key of the server, made whole at the first call and readable by this user alone. Raises ``OSError``."""
        if not self.key_file.exists():
            self.make()
            draft = self._draft(self.key_file.name, secrets.token_urlsafe(32))
            with suppress(FileExistsError):
                os.link(draft, self.key_file)
            draft.unlink()
        return self.key_file.read_text(encoding="ascii")

    def make(self) -> None:
        """Make the folder where there is none yet. Raises ``OSError``."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextmanager
    def lock(self, seconds: float = LOCK_SECONDS) -> Iterator[None]:
        """Hold the server against every other process; the kernel lets go for a dead one.

        Raises ``Busy`` and ``OSError``, which is ``FileNotFoundError`` where the folder is not made or was removed.
        """
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(descriptor, time.monotonic() + seconds)
            yield
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Forget the server: at once, so that whoever still writes to it writes nowhere."""
        gone = self.path.with_name(f".{self.key}.{secrets.token_hex(4)}")
        with suppress(OSError):
            self.path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def _write(self, name: str, text: str) -> None:
        self._draft(name, text).replace(self.path / name)

    def _draft(self, name: str, text: str) -> Path:
        """A new file with this text, safely on disk. Raises ``OSError``, and then there is none."""
        draft = self.path / f".{name}.{secrets.token_hex(4)}"
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        return draft


def folders(parent: Path) -> list[Folder]:
    """Every server that was ever started here and is not forgotten."""
    try:
        return [
            Folder(parent, path.name) for path in sorted(parent.iterdir()) if path.is_dir() and _KEY.fullmatch(path.name)
        ]
    except OSError:
        return []


def _record(value: dict[str, Any]) -> Record:
    identity = value["identity"]
    read = {"spec": spec_from_json(value["spec"]), "identity": Identity(**identity) if identity else None}
    return Record(**(value | read | {"crashes": tuple(value["crashes"])}))


def _lock(descriptor: int, deadline: float) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise Busy("Another process of Berth is at work on this server.") from error
            time.sleep(_LOCK_POLL_SECONDS)
