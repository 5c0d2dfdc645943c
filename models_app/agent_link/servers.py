"""Managed servers on a host with an agent: everything about them is asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models_app.agent.calls import Nothing
from models_app.agent.host_calls import HOST_CALLS, AtPath, OfOllama, OfServer, Wanted
from models_app.agent.managed import OllamaChoices
from models_app.agent.supervision.files import FileHeader, Listing
from models_app.agent.supervision.ollama import OllamaSpec
from models_app.agent.supervision.ollama_backend import START_SECONDS
from models_app.agent.supervision.spec import ServerSpec, Spec
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

    def ollama_choices(self) -> OllamaChoices:
        choices: OllamaChoices = self._ask("ollama_choices", Nothing())
        return choices

    def put(self, key: str, spec: Spec) -> None:
        if isinstance(spec, OllamaSpec):
            self._ask("put_ollama", OfOllama(key, spec))
        elif isinstance(spec, ServerSpec):
            self._ask("put_server", OfServer(key, spec))

    def start(self, key: str, spec: OllamaSpec) -> None:  # noqa: ARG002 - the agent has it since it was put
        self._ask("start_server", OfServer(key), START_SECONDS + STOP_SECONDS)

    def stop(self, key: str) -> None:
        self._ask("stop_server", OfServer(key), STOP_SECONDS)

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
