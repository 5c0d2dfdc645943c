"""Ollama servers that the agent's file describes, each on GPUs of its own: kept running, and adopted by the next agent.

[endpoints.ollama-0]
kind = "pinned_ollama"
gpus = ["GPU-8f2d…"]
models = "/srv/models/ollama"      # in a folder that managed.toml allows
# binary, parallel, context_length, most_loaded, keep_alive, flash_attention, kv_cache_type
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, fields

from models_app.agent.config import BadConfig, EndpointConfig
from models_app.agent.supervision.ollama import OllamaSpec
from models_app.agent.supervision.server import Server
from models_app.agent.supervision.starting import in_thread
from models_app.agent.supervision.supervisor import Supervisor
from models_app.backends.errors import BackendError
from models_app.backends.protocol import Backend, ServerState

log = logging.getLogger(__name__)

KIND = "pinned_ollama"
KEY = "ollama"
"""How the keys of these servers begin; a hash of the endpoint's name follows."""
LOOK_SECONDS = 0.5
RETRY_SECONDS = 30.0
"""After a start that came to nothing. What has once served is started again by its supervision."""


def check(entry: EndpointConfig) -> None:
    """Raises ``BadConfig`` for an entry that describes no such server."""
    spec_of(entry)


def spec_of(entry: EndpointConfig) -> OllamaSpec:
    """How the entry's server is started. Raises ``BadConfig``."""
    known = {field.name for field in fields(OllamaSpec)} - {"name"}
    if unknown := sorted(set(entry.settings) - known):
        raise BadConfig(f"endpoints.{entry.name}: there is no key “{unknown[0]}”; there are: {', '.join(sorted(known))}")
    try:
        return OllamaSpec.from_json({**entry.settings, "name": entry.name})
    except BackendError as error:
        raise BadConfig(f"endpoints.{entry.name}: {error.message}") from None


def key_of(name: str) -> str:
    """The key of the server of an endpoint."""
    return f"{KEY}{hashlib.sha256(name.encode()).hexdigest()[:16]}"


@dataclass(slots=True)
class _Pinned:
    spec: OllamaSpec
    server: Server
    due: float = 0.0
    was_seen: bool = False


class PinnedOllamas:
    """``connect`` makes a backend of an endpoint."""

    def __init__(
        self, entries: Iterable[EndpointConfig], supervisor: Supervisor, connect: Callable[[str], Awaitable[Backend]]
    ) -> None:
        specs = [spec_of(entry) for entry in entries if entry.kind == KIND]
        self._pinned = [_Pinned(spec, supervisor.server(key_of(spec.name))) for spec in specs]
        self._supervisor = supervisor
        self._connect = connect

    async def tend(self) -> None:
        """Start, adopt and watch them, until cancelled; what the file describes no longer is stopped at the beginning."""
        await self._forget_others()
        while self._pinned:
            for each in self._pinned:
                try:
                    await self._tend(each)
                except BackendError as error:
                    log.warning("%s: %s", each.spec.name, error.message)
            await asyncio.sleep(LOOK_SECONDS)

    async def _forget_others(self) -> None:
        kept = {key_of(each.spec.name) for each in self._pinned}
        for key in await asyncio.to_thread(self._supervisor.keys):
            if key.startswith(KEY) and key not in kept:
                log.info("a pinned Ollama is not in the file any more and is stopped")
                try:
                    await in_thread(self._supervisor.server(key).forget)
                except BackendError as error:  # the others, and the agent, go on; the next start tries again
                    log.warning("it was not stopped: %s", error.message)

    async def _tend(self, each: _Pinned) -> None:
        known = await in_thread(each.server.look)
        if known.settings_digest and known.settings_digest != each.spec.digest:
            log.info("%s has other settings now and is started anew", each.spec.name)
            await in_thread(each.server.stop)
        is_given_up = known.state is ServerState.GIVEN_UP and each.was_seen
        now, each.was_seen = asyncio.get_running_loop().time(), True
        if known.process_id is None and known.state is not ServerState.RESTARTING and not is_given_up and now >= each.due:
            each.due = now + RETRY_SECONDS
            await in_thread(each.server.start, each.spec)
        if known.state is ServerState.STARTING:
            await (await self._connect(each.spec.name)).observe()
