"""What the page of a managed server shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models_app.agent.supervision.spec import ServerSpec
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
_RUNS = (ServerState.STARTING, ServerState.RUNNING, ServerState.RESTARTING)


@dataclass(frozen=True, slots=True)
class ServerPage:
    """A server as it is and as it would be started. ``must_restart``: it runs with other settings than are set now."""

    server: ManagedServer
    endpoint: Endpoint
    spec: ServerSpec
    state_words: str
    tone: str
    settings: tuple[tuple[str, str], ...]
    log: tuple[str, ...]
    log_problem: str
    loaded: LoadedModel | None
    active: Operation | None

    @property
    def runs(self) -> bool:
        """Whether there is something to stop."""
        return self.server.state in _RUNS

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
        loaded=LoadedModel.objects.filter(endpoint=endpoint).first(),
        active=Operation.objects.filter(endpoint=endpoint, state__in=Operation.ACTIVE).first(),
    )


def _log(endpoint: Endpoint) -> tuple[tuple[str, ...], str]:
    try:
        return tuple(log_tail(endpoint, LOG_LINES)), ""
    except BackendError as error:
        return (), error.message


def _settings(endpoint: Endpoint, spec: ServerSpec) -> list[tuple[str, str]]:
    """What was chosen, in words; the rest is the server's choice."""
    gpus = {gpu.uuid: f"GPU {gpu.index}" for gpu in Gpu.objects.filter(host=endpoint.host_id)}
    chosen: dict[str, Any] = {"File": spec.model, "Program": spec.binary}
    chosen["GPUs"] = " and ".join(gpus.get(uuid, uuid) for uuid in spec.gpus)
    chosen |= {words: getattr(spec, name) for name, words in OPTION_WORDS.items() if hasattr(spec, name)}
    chosen |= {"CPU threads": spec.threads, "Further flags": " ".join(spec.extra)}
    return [(words, _typed(value)) for words, value in chosen.items() if value not in (None, "")]


def _typed(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:,}" if isinstance(value, int) else str(value)
