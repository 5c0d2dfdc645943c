"""Where servers may be started: on the panel's own machine by this process, on others by their agents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from asgiref.sync import async_to_sync
from django.conf import settings

from models_app.agent.managed import OllamaChoices, ollama_choices
from models_app.agent.supervision.files import FileHeader, Listing, list_models, read_file
from models_app.agent.supervision.ollama import OllamaSpec
from models_app.agent.supervision.ollama_backend import OllamaServer
from models_app.agent.supervision.spec import Spec
from models_app.agent.supervision.supervisor import Supervisor
from models_app.backends.errors import LoadFailed, UnsupportedCall
from models_app.inventory.models import Host


class ServerHost(Protocol):
    """A machine whose owner may allow servers. Every method raises ``BackendError``; none is for an event loop."""

    def programs(self) -> Sequence[str]:
        """The names of the programs that may be started."""

    def list_files(self, wanted: str) -> Listing:
        """The model files whose path holds every word of ``wanted``."""

    def read_file(self, path: str) -> FileHeader:
        """Size and header of one file."""

    def ollama_choices(self) -> OllamaChoices:
        """What is allowed for Ollama servers."""

    def put(self, key: str, spec: Spec) -> None:
        """Have a server started with this spec from its next start on. What would not be started is refused."""

    def start(self, key: str, spec: OllamaSpec) -> None:
        """Start an Ollama with the spec that was put; returns once it serves."""

    def stop(self, key: str) -> None:
        """Stop an Ollama and all that it has in memory."""

    def forget(self, key: str) -> None:
        """Stop a server and forget it."""

    def log_tail(self, key: str, count: int) -> Sequence[str]:
        """The last lines of a server's log."""


class LocalServers:
    """The panel's own machine. Its rows are what a server is started with, so there is nothing to put."""

    def __init__(self) -> None:
        self._supervisor = supervisor()

    def programs(self) -> Sequence[str]:
        return list(self._supervisor.allowed().binaries)

    def list_files(self, wanted: str) -> Listing:
        return list_models(self._supervisor.allowed(), wanted)

    def read_file(self, path: str) -> FileHeader:
        try:
            return read_file(self._supervisor.allowed(), path)
        except OSError as error:
            raise LoadFailed(f"{path} cannot be read: {error.strerror}.") from error

    def ollama_choices(self) -> OllamaChoices:
        return ollama_choices(self._supervisor)

    def put(self, key: str, spec: Spec) -> None:  # noqa: ARG002
        self._supervisor.check(spec)

    def start(self, key: str, spec: OllamaSpec) -> None:
        async_to_sync(_started)(OllamaServer(self._supervisor, key, spec))

    def stop(self, key: str) -> None:
        try:
            self._supervisor.server(key).stop()
        except OSError as error:
            raise LoadFailed(f"{error.filename or 'A file'}: {error.strerror}.") from error

    def forget(self, key: str) -> None:
        try:
            self._supervisor.server(key).forget()
        except OSError as error:
            raise LoadFailed(f"What is known of the server cannot be removed: {error.strerror}.") from error

    def log_tail(self, key: str, count: int) -> Sequence[str]:
        return self._supervisor.server(key).log_tail(count)


async def _started(server: OllamaServer) -> None:
    async with aclosing(server), aclosing(server.start()) as steps:
        async for _ in steps:
            pass


Find = Callable[[Host], ServerHost | None]
_finders: list[Find] = []


def supervisor() -> Supervisor:
    """That of the panel's own machine."""
    return Supervisor(settings.MANAGED_FILE, settings.DATA_DIR / "managed")


def find_server_hosts_by(find: Find) -> None:
    """Ask ``find`` for hosts other than the panel's own."""
    if find not in _finders:
        _finders.append(find)


def server_host(host: Host) -> ServerHost:
    """Who starts servers on a host. Raises ``UnsupportedCall`` where nobody could."""
    if host.is_local:
        return LocalServers()
    found = next((each for find in _finders if (each := find(host)) is not None), None)
    if found is None:
        raise UnsupportedCall(f"Nothing of Berth runs on {host.name} that could start a server there.", option="host")
    return found
