"""The servers that the panel has this agent start, as far as the owner's allow-list goes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models_app.agent.config import BadConfig
from models_app.agent.supervision.backend import ManagedBackend
from models_app.agent.supervision.files import FileHeader, Listing, list_models, read_file
from models_app.agent.supervision.records import Folder, folders
from models_app.agent.supervision.spec import ServerSpec
from models_app.agent.supervision.starting import in_thread
from models_app.agent.supervision.supervisor import Supervisor
from models_app.backends.errors import NotFound

PREFIX = "managed."
"""How the names of these endpoints begin; the server's key follows."""
DEFAULT_ALLOW_FILE = "/etc/berth/managed.toml"
KEYS = frozenset({"allow_file", "state_folder"})
TEND_SECONDS = 1.0


def managed_name(key: str) -> str:
    """The name of the endpoint of a managed server."""
    return f"{PREFIX}{key}"


class ManagedServers:
    """``state_folder`` keeps what is known of them, and with what they are started next. Raises ``BadConfig``."""

    def __init__(self, settings: Mapping[str, Any], state_folder: Path) -> None:
        if unknown := sorted(set(settings) - KEYS):
            raise BadConfig(f"supervision: there is no key “{unknown[0]}”; there are: {', '.join(sorted(KEYS))}")
        self._state = Path(str(settings.get("state_folder", state_folder)))
        self.supervisor = Supervisor(Path(str(settings.get("allow_file", DEFAULT_ALLOW_FILE))), self._state)

    def names(self) -> tuple[str, ...]:
        """The endpoints of all servers that the panel has put here."""
        return tuple(managed_name(folder.key) for folder in folders(self._state) if folder.read_spec() is not None)

    def backend(self, name: str) -> ManagedBackend:
        """The server behind an endpoint's name, with its settings of now. Raises ``NotFound``, ``InvalidName``."""
        key = name.removeprefix(PREFIX)
        spec = Folder(self._state, key).read_spec()
        if spec is None:
            raise NotFound("This agent has no such server any more.", hint="Save its settings again.")
        return ManagedBackend(self.supervisor, key, spec)

    async def tend(self) -> None:
        """Restart what has crashed, until cancelled."""
        while True:
            await asyncio.to_thread(self.supervisor.tick)
            await asyncio.sleep(TEND_SECONDS)

    async def programs(self) -> list[str]:
        """The names of the programs that may be started. Raises ``NotAllowed``."""
        return list((await in_thread(self.supervisor.allowed)).binaries)

    async def list_files(self, wanted: str) -> Listing:
        """The model files that may be used. Raises ``NotAllowed``."""
        return await in_thread(list_models, await in_thread(self.supervisor.allowed), wanted)

    async def read_file(self, path: str) -> FileHeader:
        """Size and header of one of them. Raises ``NotAllowed``."""
        return await in_thread(read_file, await in_thread(self.supervisor.allowed), path)

    async def put(self, key: str, spec: ServerSpec) -> None:
        """Keep the settings for the next start. Raises ``NotAllowed`` or ``InvalidOption`` where it would be refused."""
        await in_thread(self.supervisor.check, spec)
        await in_thread(Folder(self._state, key).write_spec, spec)

    async def forget(self, key: str) -> None:
        """Stop it and forget it."""
        await in_thread(self.supervisor.server(key).forget)

    async def log_tail(self, key: str, count: int) -> list[str]:
        """The last lines of its log."""
        return await in_thread(self.supervisor.server(key).log_tail, count)
