"""The servers that the panel has this agent start, as far as the owner's allow-list goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_app.agent.config import MANAGED, BadConfig
from models_app.agent.supervision.backend import ManagedBackend
from models_app.agent.supervision.files import FileHeader, Listing, list_models, read_file
from models_app.agent.supervision.ollama import OllamaSpec
from models_app.agent.supervision.ollama_backend import OllamaServer
from models_app.agent.supervision.records import Folder, folders
from models_app.agent.supervision.spec import ServerSpec, Spec
from models_app.agent.supervision.starting import in_thread
from models_app.agent.supervision.supervisor import Supervisor
from models_app.backends import detect
from models_app.backends.errors import NotFound, UnsupportedCall
from models_app.backends.protocol import BackendKind, Progress
from models_app.probes.servers import Served

DEFAULT_ALLOW_FILE = "/etc/berth/managed.toml"
KEYS = frozenset({"allow_file", "state_folder"})
TEND_SECONDS = 1.0


def managed_name(key: str) -> str:
    """The name of the endpoint of a managed server."""
    return f"{MANAGED}{key}"


@dataclass(frozen=True, slots=True)
class OllamaChoices:
    """What the owner allows for Ollama servers: the names of programs, and the folders that models may lie in."""

    programs: tuple[str, ...]
    folders: tuple[str, ...]


def ollama_choices(supervisor: Supervisor) -> OllamaChoices:
    """What the owner of a machine allows there. Raises ``NotAllowed``."""
    allowed = supervisor.allowed()
    return OllamaChoices(tuple(allowed.ollamas), tuple(map(str, allowed.model_folders)))


class ManagedServers:
    """``state_folder`` keeps what is known of them, and with what they are started next. Raises ``BadConfig``.

    ``ollama`` says how to talk to Ollama servers.
    """

    def __init__(self, settings: Mapping[str, Any], state_folder: Path, ollama: detect.Settings | None = None) -> None:
        if unknown := sorted(set(settings) - KEYS):
            raise BadConfig(f"supervision: there is no key “{unknown[0]}”; there are: {', '.join(sorted(KEYS))}")
        self._state = Path(str(settings.get("state_folder", state_folder)))
        self._ollama = ollama
        self.supervisor = Supervisor(Path(str(settings.get("allow_file", DEFAULT_ALLOW_FILE))), self._state)

    def names(self) -> tuple[str, ...]:
        """The endpoints of all servers that the panel has put here."""
        return tuple(managed_name(key) for key, _ in self._specs())

    def served(self) -> tuple[Served, ...]:
        """Where the Ollama servers of the panel listen; a llama-server is known by its process."""
        ollamas = [key for key, spec in self._specs() if isinstance(spec, OllamaSpec)]
        found = [(managed_name(key), self.supervisor.server(key).port()) for key in ollamas]
        return tuple(Served(name, port, BackendKind.OLLAMA) for name, port in found if port)

    def backend(self, name: str) -> ManagedBackend | OllamaServer:
        """The server behind an endpoint's name, with its settings of now. Raises ``NotFound``, ``InvalidName``."""
        key = name.removeprefix(MANAGED)
        spec = Folder(self._state, key).read_spec()
        if isinstance(spec, OllamaSpec):
            return OllamaServer(self.supervisor, key, spec, self._ollama)
        if isinstance(spec, ServerSpec):
            return ManagedBackend(self.supervisor, key, spec)
        raise NotFound("This agent has no such server any more.", hint="Save its settings again.")

    async def tend(self) -> None:
        """Restart what has crashed, until cancelled."""
        while True:
            await asyncio.to_thread(self.supervisor.tick)
            await asyncio.sleep(TEND_SECONDS)

    async def programs(self) -> list[str]:
        """The names of the programs that may be started. Raises ``NotAllowed``."""
        return list((await in_thread(self.supervisor.allowed)).binaries)

    async def ollama_choices(self) -> OllamaChoices:
        """What the owner allows for Ollama servers. Raises ``NotAllowed``."""
        return await in_thread(ollama_choices, self.supervisor)

    async def list_files(self, wanted: str) -> Listing:
        """The model files that may be used. Raises ``NotAllowed``."""
        return await in_thread(list_models, await in_thread(self.supervisor.allowed), wanted)

    async def read_file(self, path: str) -> FileHeader:
        """Size and header of one of them. Raises ``NotAllowed``."""
        return await in_thread(read_file, await in_thread(self.supervisor.allowed), path)

    async def put(self, key: str, spec: Spec) -> None:
        """Keep the settings for the next start. Raises ``NotAllowed`` or ``InvalidOption`` where it would be refused."""
        await in_thread(self.supervisor.check, spec)
        await in_thread(Folder(self._state, key).write_spec, spec)

    async def start(self, key: str) -> AsyncGenerator[Progress, None]:
        """Start an Ollama and wait until it serves. Raises ``BackendError``."""
        server = await self._ollama_server(key)
        try:
            async with aclosing(server.start()) as steps:
                async for progress in steps:
                    yield progress
        finally:
            await server.aclose()

    async def stop(self, key: str) -> None:
        """Stop an Ollama with all that it has in memory. Raises ``BackendError``."""
        await (await self._ollama_server(key)).stop()

    async def forget(self, key: str) -> None:
        """Stop it and forget it."""
        await in_thread(self.supervisor.server(key).forget)

    async def log_tail(self, key: str, count: int) -> list[str]:
        """The last lines of its log."""
        return await in_thread(self.supervisor.server(key).log_tail, count)

    async def _ollama_server(self, key: str) -> OllamaServer:
        server = await asyncio.to_thread(self.backend, managed_name(key))
        if isinstance(server, OllamaServer):
            return server
        raise UnsupportedCall("A llama-server is started by loading its model, and stopped by unloading it.")

    def _specs(self) -> list[tuple[str, Spec]]:
        found = [(folder.key, folder.read_spec()) for folder in folders(self._state)]
        return [(key, spec) for key, spec in found if spec is not None]
