"""What the page of a managed server shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models_app.agent.supervision.ollama import OllamaSpec
from models_app.agent.supervision.spec import Spec
from models_app.backends.errors import BackendError
from models_app.backends.protocol import ServerState
from models_app.inventory.managed import log_tail, must_restart, spec_of
from models_app.inventory.models import Endpoint, Gpu, LoadedModel, ManagedServer
from models_app.operations.models import Operation
from models_app.web.option_fields import OPTION_WORDS

LOG_LINES = 200
STATE_WORDS = {
    ServerState.STOPPED: ("Stopped", ""),
    ServerState.STARTING: ("Starting", "warn"),
    ServerState.RUNNING: ("Running", "good"),
    ServerState.RESTARTING: ("Ended unasked; it is started again", "warn"),
    ServerState.GIVEN_UP: ("Ended unasked too often", "bad"),
}
_FIRST_WORDS = {"model": "File", "models": "Folder of models", "binary": "Program"}
_LAST_WORDS = {
    "threads": "CPU threads",
    "most_loaded": "Models at once",
    "keep_alive": "Keep-alive",
    "kv_cache_type": "KV cache type",
}
_RUNS = (ServerState.STARTING, ServerState.RUNNING, ServerState.RESTARTING)


@dataclass(frozen=True, slots=True)
class ServerPage:
    """A server as it is and as it would be started, with the models in its memory."""

    server: ManagedServer
    endpoint: Endpoint
    spec: Spec
    state_words: str
    tone: str
    settings: tuple[tuple[str, str], ...]
    log: tuple[str, ...]
    log_problem: str
    models: tuple[LoadedModel, ...]
    active: Operation | None

    @property
    def runs(self) -> bool:
        """Whether there is something to stop."""
        return self.server.state in _RUNS

    @property
    def is_ollama(self) -> bool:
        """Whether it is started and stopped by itself, rather than with its one model."""
        return isinstance(self.spec, OllamaSpec)

    @property
    def loaded(self) -> LoadedModel | None:
        """The one model of a llama-server."""
        return None if self.is_ollama else next(iter(self.models), None)

    @property
    def must_restart(self) -> bool:
        """Whether what runs was started with other settings."""
        return must_restart(self.server)


def server_page(endpoint: Endpoint) -> ServerPage:
    """The page of a managed endpoint."""
    spec, server = spec_of(endpoint), endpoint.managed
    words, tone = STATE_WORDS[ServerState(server.state)]
    lines, problem = _log(endpoint)
    return ServerPage(
        server=server,
        endpoint=endpoint,
        spec=spec,
        state_words=words,
        tone=tone,
        settings=tuple(_settings(endpoint, spec)),
        log=lines,
        log_problem=problem,
        models=tuple(LoadedModel.objects.filter(endpoint=endpoint)),
        active=Operation.objects.filter(endpoint=endpoint, state__in=Operation.ACTIVE).first(),
    )


def _log(endpoint: Endpoint) -> tuple[tuple[str, ...], str]:
    try:
        return tuple(log_tail(endpoint, LOG_LINES)), ""
    except BackendError as error:
        return (), error.message


def _settings(endpoint: Endpoint, spec: Spec) -> list[tuple[str, str]]:
    """What was chosen, in words; the rest is the server's choice."""
    gpus = {gpu.uuid: f"GPU {gpu.index}" for gpu in Gpu.objects.filter(host=endpoint.host_id)}
    chosen: dict[str, Any] = {words: getattr(spec, name, None) for name, words in _FIRST_WORDS.items()}
    chosen["GPUs"] = " and ".join(gpus.get(uuid, uuid) for uuid in spec.gpus)
    chosen |= {words: getattr(spec, name, None) for name, words in (OPTION_WORDS | _LAST_WORDS).items()}
    chosen["Further flags"] = " ".join(getattr(spec, "extra", ()))
    return [(words, _typed(value)) for words, value in chosen.items() if value not in (None, "")]


def _typed(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:,}" if isinstance(value, int) else str(value)
