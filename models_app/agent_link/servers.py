"""Managed servers on a host with an agent: everything about them is asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models_app.agent.calls import HOST_CALLS, AtPath, Nothing, OfServer, Wanted
from models_app.agent.supervision.files import FileHeader, Listing
from models_app.agent.supervision.spec import ServerSpec
from models_app.agent_link.models import Agent
from models_app.agent_link.waiting import Asking
from models_app.inventory.models import Host
from models_app.inventory.server_hosts import ServerHost

ANSWER_SECONDS = 10.0
STOP_SECONDS = 60.0


class RemoteServers:
    """A ``ServerHost`` behind an agent."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def programs(self) -> Sequence[str]:
        names: list[str] = self._ask("programs", Nothing())
        return names

    def list_files(self, wanted: str) -> Listing:
        listing: Listing = self._ask("list_files", Wanted(wanted))
        return listing

    def read_file(self, path: str) -> FileHeader:
        file: FileHeader = self._ask("read_file", AtPath(path))
        return file

    def put(self, key: str, spec: ServerSpec) -> None:
        self._ask("put_server", OfServer(key, spec))

    def forget(self, key: str) -> None:
        self._ask("forget_server", OfServer(key), STOP_SECONDS)

    def log_tail(self, key: str, count: int) -> Sequence[str]:
        lines: list[str] = self._ask("server_log", OfServer(key, count=count))
        return lines

    def _ask(self, call: str, arguments: Any, seconds: float = ANSWER_SECONDS) -> Any:
        return Asking(self._host.pk, self._host.name, HOST_CALLS[call], "", arguments, seconds).answer()


def servers_of(host: Host) -> ServerHost | None:
    """That of a host whose agent was let in; ``None`` where there is none."""
    return RemoteServers(host) if Agent.objects.filter(host=host, revoked_at=None).exists() else None
