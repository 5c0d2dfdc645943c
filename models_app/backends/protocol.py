"""The values and the one protocol that every backend speaks.

Nothing above this package knows a backend by its kind: it asks for ``capabilities`` and calls the methods of
``Backend``. A method that a backend cannot perform is absent from its capabilities and raises ``Rejected``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from models_app.gguf.header import GgufHeader


class BackendKind(StrEnum):
    """Which server program an endpoint runs."""

    OLLAMA = "ollama"
    LLAMA_SERVER = "llama_server"


class Capability(StrEnum):
    """What an endpoint can be asked to do."""

    LOAD = "load"
    UNLOAD = "unload"
    PULL = "pull"
    DELETE = "delete"
    KEEP_ALIVE = "keep_alive"
    LOAD_PROGRESS = "load_progress"
    """It reports how far a load has come; elsewhere progress is bytes risen."""
    RESTART = "restart"
    HEADER = "header"
    """It tells a model's whole GGUF header."""
    GENERATE = "generate"
    """It writes text and says how long that took."""


class ModelState(StrEnum):
    """The state of a model that an endpoint lists as occupying memory, or as being on its way in or out."""

    LOADING = "loading"
    LOADED = "loaded"
    SLEEPING = "sleeping"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a model is to be loaded. ``None`` leaves the choice to the backend.

    ``keep_alive_seconds`` is a whole number of seconds; a negative one means for ever. ``gpu`` is a GPU's UUID. ``batch``
    and ``context_length`` are tokens; ``context_length`` is per slot. Without
    ``kv_offload`` the KV cache stays in host RAM. ``pinned`` is Berth's own: never chosen for eviction.
    """

    context_length: int | None = None
    parallel: int | None = None
    gpu_layers: int | None = None
    gpu: str | None = None
    batch: int | None = None
    cache_type_k: str | None = None
    cache_type_v: str | None = None
    flash_attention: bool | None = None
    kv_offload: bool | None = None
    keep_alive_seconds: int | None = None
    pinned: bool = False

    def given(self) -> dict[str, Any]:
        """The options that were chosen, by name; ``pinned`` only when set."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in chosen.items() if value is not None and (name != "pinned" or value)}


@dataclass(frozen=True, slots=True)
class EndpointInfo:
    """What a probe of an endpoint found. ``load_options`` names the ``LoadOptions`` fields that it can honour."""

    kind: BackendKind
    mode: str
    """``ollama``, ``router`` or ``single``."""
    version: str
    capabilities: frozenset[Capability]
    load_options: frozenset[str]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model that an endpoint could load.

    ``size_bytes`` is the size of its files, 0 where the endpoint does not tell. ``parameter_count`` and the fields after it
    are ``None`` or empty where unknown. ``is_embedding`` is what the endpoint says or the family suggests. ``launch`` is
    how the endpoint says that it starts the model, as far as that moves memory: values by the names in ``llama_launch``.
    """

    name: str
    digest: str = ""
    size_bytes: int = 0
    family: str = ""
    quantization: str = ""
    parameter_count: int | None = None
    is_embedding: bool = False
    modified_at: datetime | None = None
    path: str = ""
    launch: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The numbers of a model's header that a quick estimate needs; ``None`` where the endpoint does not tell."""

    architecture: str = ""
    layer_count: int | None = None
    kv_head_count: int | None = None
    head_count: int | None = None
    key_length: int | None = None
    value_length: int | None = None
    embedding_length: int | None = None
    training_context_length: int | None = None
    parameter_count: int | None = None
    is_embedding: bool = False


@dataclass(frozen=True, slots=True)
class HeaderAnswer:
    """A model's header as an endpoint tells it; ``None`` where it has none, as for a model that is no GGUF file.

    ``shape`` is what ``Backend.shape`` would tell, for the one answer holds both. ``path`` is where the endpoint says that
    the model's file lies on its own host, or empty.
    """

    header: GgufHeader | None
    shape: ModelShape
    path: str = ""


@dataclass(frozen=True, slots=True)
class ResidentModel:
    """A model that an endpoint reports in memory.

    ``size_bytes`` and ``vram_bytes`` are the endpoint's own figures (``None`` where it gives none) and are compared with
    NVML, never trusted alone. ``context_length`` is per slot. ``expires_at`` is ``None`` for a model kept for ever or
    without a keep-alive. ``process_id`` and ``port`` are those of the model's own server process, and
    ``host_ram_bytes`` is what that process and its children hold resident in host RAM, where the backend can tell.
    """

    name: str
    state: ModelState
    digest: str = ""
    size_bytes: int | None = None
    vram_bytes: int | None = None
    context_length: int | None = None
    parallel: int | None = None
    expires_at: datetime | None = None
    kept_forever: bool = False
    process_id: int | None = None
    port: int | None = None
    host_ram_bytes: int | None = None


class ServerState(StrEnum):
    """The state of a server that Berth starts itself."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    """It ended unasked and is started again, after a pause."""
    GIVEN_UP = "given_up"
    """It ended unasked too often, and is not started again until somebody asks."""


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """The process of a server that Berth starts itself.

    ``restarts`` counts since somebody last asked for a start. ``problem`` says how it last ended unasked, or is empty.
    ``settings_digest`` is that of the settings with which it was started.
    """

    state: ServerState
    process_id: int | None = None
    port: int | None = None
    started_at: datetime | None = None
    restarts: int = 0
    problem: str = ""
    settings_digest: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """What an endpoint says at one moment. ``failed`` maps a model's name to why its last load failed.

    ``server`` is the endpoint's own process, where Berth starts it.
    """

    resident: tuple[ResidentModel, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)
    server: ServerProcess | None = None

    def find(self, name: str) -> ResidentModel | None:
        """The resident model of that name, or ``None``."""
        return next((model for model in self.resident if model.name == name), None)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long call has come. ``fraction`` is 0 to 1, or ``None`` where only a status is known.

    ``lines`` are what the server has logged since the step before, where the backend sees its log.
    """

    status: str
    completed_bytes: int | None = None
    total_bytes: int | None = None
    fraction: float | None = None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """A text that a model wrote: how many tokens, and the seconds that it wrote, reading the prompt not counted."""

    token_count: int
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """The speed of writing."""
        return self.token_count / self.seconds


class Backend(Protocol):
    """One endpoint, addressed. Every method raises ``BackendError`` and nothing else, within its timeout.

    Model names are given and returned in the endpoint's own canonical form; ``canonical`` makes it.
    """

    def canonical(self, name: str) -> str:
        """The name as the endpoint lists it (Ollama adds ``:latest``). Raises ``Rejected`` for an impossible name."""

    async def identify(self) -> EndpointInfo:
        """Version, mode and capabilities. The cheapest call that proves the endpoint works."""

    async def installed(self) -> list[InstalledModel]:
        """Every model that the endpoint could load."""

    async def shape(self, name: str) -> ModelShape:
        """What the endpoint knows of a model's header; an empty shape where it knows nothing."""

    async def header(self, name: str) -> HeaderAnswer:
        """The model's whole GGUF header, or where its file lies. Never wakes or loads a model."""

    async def observe(self) -> Observation:
        """What is in memory now. Never wakes or loads a model."""

    def load(self, name: str, options: LoadOptions) -> AsyncGenerator[Progress, None]:
        """Load, yielding progress; the generator ends when the endpoint says it is loaded. Closing it aborts the load.

        Raises ``Rejected`` at once, with the option's name, for an option that this endpoint cannot honour.
        """

    async def unload(self, name: str) -> None:
        """Ask for the model to leave memory; returns when the endpoint has accepted, not when the memory is free.

        Succeeds for a model that is not loaded; raises ``NotFound`` for one that the endpoint does not know.
        """

    async def set_keep_alive(self, name: str, seconds: int, options: LoadOptions) -> None:
        """Change how long an idle model stays. ``options`` are those it was loaded with: repeating them avoids a reload.

        Raises ``NotFound`` for a model that is not loaded, rather than loading it.
        """

    async def generate(self, name: str, most_tokens: int, options: LoadOptions) -> Generation:
        """Have a loaded model write a text of no use, to see how fast it is. ``options`` are those it was loaded with.

        Never loads or wakes a model: raises ``NotFound`` for one that is not loaded, ``Rejected`` for one that writes no
        text, and ``BadAnswer`` where the answer does not say how long it took.
        """

    def pull(self, name: str) -> AsyncGenerator[Progress, None]:
        """Download a model, yielding progress until it is installed."""

    async def delete(self, name: str) -> None:
        """Remove an installed model's files."""

    async def aclose(self) -> None:
        """Close the connections."""
