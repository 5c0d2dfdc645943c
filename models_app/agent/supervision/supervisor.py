"""Every server that Berth starts on this machine.

A server is a process in a session of its own: it goes on when Berth ends, and whoever comes next finds it by the record on
disk (pid and start time). A file lock a server keeps two processes from starting it twice.
"""

from __future__ import annotations

import logging
from pathlib import Path

from models_app.agent.supervision.allowed import Allowed, read_allowed
from models_app.agent.supervision.crashes import Pace
from models_app.agent.supervision.kinds import launch_of
from models_app.agent.supervision.records import Folder, folders
from models_app.agent.supervision.server import Server
from models_app.agent.supervision.spec import Spec
from models_app.backends.errors import BackendError, Busy
from models_app.probes.memory import oom_kills

log = logging.getLogger(__name__)


class Supervisor:
    """``allow_file`` is the owner's, ``state_folder`` Berth's own; a server's key is of small letters and digits."""

    def __init__(self, allow_file: Path, state_folder: Path, pace: Pace | None = None) -> None:
        self.allow_file = allow_file
        self._state = state_folder
        self._pace = pace or Pace()
        self._oom_kills: int | None = None

    def allowed(self) -> Allowed:
        """What the owner allows now. Raises ``NotAllowed``."""
        return read_allowed(self.allow_file)

    def server(self, key: str) -> Server:
        """The server of that key, whether or not it was ever started. Raises ``InvalidName``."""
        return Server(Folder(self._state, key), self.allow_file, self._pace)

    def check(self, spec: Spec) -> None:
        """Raises ``InvalidOption``, ``InvalidName`` or ``NotAllowed`` for what would not be started now."""
        allowed = self.allowed()
        launch_of(spec, allowed, allowed.ports[0], self._state, "")

    def keys(self) -> list[str]:
        """The keys of all servers that were ever started here and are not forgotten."""
        return [folder.key for folder in folders(self._state)]

    def ports(self) -> frozenset[int]:
        """Where the servers that run listen."""
        found = (self.server(folder.key).port() for folder in folders(self._state))
        return frozenset(port for port in found if port)

    def tick(self) -> None:
        """Tend every server. To be called about once a second by one process; another one does no harm."""
        oom_kills_before = self._oom_kills  # those that ran at the last tick were seen after this was read
        self._oom_kills = oom_kills()
        for folder in folders(self._state):
            try:
                self.server(folder.key).tend(oom_kills_before)
            except (Busy, FileNotFoundError):
                continue
            except (BackendError, OSError) as error:
                log.warning("server %s: %s", folder.key, error)
