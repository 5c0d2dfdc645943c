"""The servers on this machine, by the names in the configuration: from a name to a backend that talks to it.

``KINDS`` is where a kind of endpoint is plugged in: what makes a ``Backend`` from an entry of the configuration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from models_app.agent import pinned
from models_app.agent.config import MANAGED, BadConfig, Config, EndpointConfig
from models_app.agent.managed import ManagedServers
from models_app.agent.messages import LocalEndpoint
from models_app.agent.supervision.ollama_backend import OllamaServer
from models_app.agent.supervision.supervisor import Supervisor
from models_app.backends import detect
from models_app.backends.address import AddressPolicy
from models_app.backends.errors import AddressRefused, NotFound
from models_app.backends.names import OLLAMA_REGISTRY
from models_app.backends.protocol import Backend, BackendKind
from models_app.probes.servers import Served


@dataclass
class Machine:
    """What endpoints may need to know of the machine. ``gpu_index`` maps a GPU's UUID to its number.

    ``supervisor`` keeps the servers running that the configuration itself describes.
    """

    config: Config
    supervisor: Supervisor
    gpu_index: Mapping[str, int] = field(default_factory=dict)


Connect = Callable[[EndpointConfig, Machine], Awaitable[Backend]]


@dataclass(frozen=True, slots=True)
class Kind:
    """How endpoints of one kind are checked at the start, connected, and found among the processes.

    ``check`` raises ``BadConfig``. ``served`` says where the server listens; ``None`` where nothing can be told.
    """

    check: Callable[[EndpointConfig], None]
    connect: Connect
    served: Callable[[EndpointConfig, Machine], Served | None] = lambda *_: None
    program: str = ""
    """The kind that the panel is told, where it is not the name of this one."""


class Endpoints:
    """Backends by name, connected when they are first needed. Belongs to one event loop."""

    def __init__(self, machine: Machine, managed: ManagedServers | None = None) -> None:
        self._machine = machine
        self._managed = managed
        self._configs = {entry.name: entry for entry in machine.config.endpoints}
        self._backends: dict[str, Backend] = {}
        self._connecting: dict[str, asyncio.Lock] = {}
        for entry in machine.config.endpoints:
            kind_of(entry).check(entry)

    @property
    def names(self) -> tuple[str, ...]:
        """Every endpoint's name; the panel may add managed servers at any time."""
        return (*self._configs, *(self._managed.names() if self._managed else ()))

    def announced(self) -> tuple[LocalEndpoint, ...]:
        """The endpoints as the panel is told of them."""
        return tuple(LocalEndpoint(entry.name, kind_of(entry).program or entry.kind) for entry in self._configs.values())

    def served(self) -> tuple[Served, ...]:
        """Where the servers listen, as far as that can be told."""
        found = [kind_of(entry).served(entry, self._machine) for entry in self._configs.values()]
        return (*(each for each in found if each is not None), *(self._managed.served() if self._managed else ()))

    async def backend(self, name: str) -> Backend:
        """The endpoint's backend. Raises ``BackendError``."""
        is_managed = self._managed is not None and name.startswith(MANAGED)
        if name not in self._configs and not is_managed:
            raise NotFound(f"This agent has no endpoint “{name[:40]}”.")
        async with self._connecting.setdefault(name, asyncio.Lock()):
            if name not in self._backends and self._managed is not None and is_managed:
                self._backends[name] = await asyncio.to_thread(self._managed.backend, name)
            if name not in self._backends:
                entry = self._configs[name]
                self._backends[name] = await kind_of(entry).connect(entry, self._machine)
            return self._backends[name]

    async def drop(self, name: str) -> None:
        """Connect anew at the next need: what the endpoint is made from has changed."""
        async with self._connecting.setdefault(name, asyncio.Lock()):
            if backend := self._backends.pop(name, None):
                await backend.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        for backend in self._backends.values():
            await backend.aclose()
        self._backends.clear()


def ollama_settings(config: Config) -> detect.Settings:
    """How to talk to an Ollama of this machine."""
    return detect.Settings(policy=_POLICY, allowed_registries=frozenset({OLLAMA_REGISTRY, *config.registries}))


def kind_of(entry: EndpointConfig) -> Kind:
    """The kind of an entry. Raises ``BadConfig`` for one that there is not."""
    if entry.kind not in KINDS:
        raise BadConfig(f"endpoints.{entry.name}: kind is one of {', '.join(sorted(KINDS))}")
    return KINDS[entry.kind]


# ── servers that run by themselves ───────────────────────────────────────────

_HTTP_KEYS = frozenset({"url", "api_key_file"})
_POLICY = AddressPolicy(allow_public=False)
"""An agent is for its own machine and network; the file says where exactly."""


def _check_http(entry: EndpointConfig) -> None:
    if unknown := sorted(set(entry.settings) - _HTTP_KEYS):
        raise BadConfig(f"endpoints.{entry.name}: there is no key “{unknown[0]}”")
    try:
        _POLICY.check_url(_url(entry))
        _api_key(entry)
    except (AddressRefused, OSError) as error:
        raise BadConfig(f"endpoints.{entry.name}: {error}") from None


def _url(entry: EndpointConfig) -> str:
    return str(entry.settings.get("url", ""))


def _api_key(entry: EndpointConfig) -> str:
    path = entry.settings.get("api_key_file")
    return Path(str(path)).read_text(encoding="utf-8").strip() if path else ""


async def _connect_http(entry: EndpointConfig, machine: Machine) -> Backend:
    return await detect.connect(
        _url(entry),
        kind=BackendKind(entry.kind),
        **ollama_settings(machine.config) | {"api_key": _api_key(entry), "gpu_index": machine.gpu_index},
    )


def _served_over_http(entry: EndpointConfig, _: Machine) -> Served:
    parts = urlsplit(_url(entry))
    return Served(entry.name, parts.port or (443 if parts.scheme == "https" else 80), entry.kind)


_OVER_HTTP = Kind(_check_http, _connect_http, _served_over_http)


# ── Ollama servers that the agent keeps running ──────────────────────────────


async def _connect_pinned(entry: EndpointConfig, machine: Machine) -> Backend:
    settings = ollama_settings(machine.config)
    return OllamaServer(machine.supervisor, pinned.key_of(entry.name), pinned.spec_of(entry), settings)


def _served_pinned(entry: EndpointConfig, machine: Machine) -> Served | None:
    port = machine.supervisor.server(pinned.key_of(entry.name)).port()
    return None if port is None else Served(entry.name, port, BackendKind.OLLAMA)


_PINNED = Kind(pinned.check, _connect_pinned, _served_pinned, BackendKind.OLLAMA)

KINDS: dict[str, Kind] = {kind.value: _OVER_HTTP for kind in BackendKind} | {pinned.KIND: _PINNED}
