"""An Ollama server that Berth starts itself, as a backend: an Ollama like any other while it runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from models_app.agent.supervision.launch import HOST
from models_app.agent.supervision.ollama import OllamaSpec
from models_app.agent.supervision.records import Running
from models_app.agent.supervision.starting import in_thread, start
from models_app.agent.supervision.supervisor import Supervisor
from models_app.backends import detect
from models_app.backends.errors import BackendError, Unreachable
from models_app.backends.names import canonical_ollama_name
from models_app.backends.protocol import (
    Backend,
    BackendKind,
    EndpointInfo,
    Generation,
    HeaderAnswer,
    InstalledModel,
    LoadOptions,
    ModelShape,
    Observation,
    Progress,
    ServerState,
)
from models_app.probes.listeners import listener_process

START_SECONDS = 60.0
"""An Ollama serves before it loads anything; what it waits for is the search for its GPUs."""


class OllamaServer:
    """The server ``key`` of a supervisor, with the settings with which it is to be started next.

    ``settings`` are those of ``detect``, but for what follows from the server itself.
    """

    def __init__(self, supervisor: Supervisor, key: str, spec: OllamaSpec, settings: detect.Settings | None = None) -> None:
        self._server = supervisor.server(key)
        self._spec = spec
        numbers = {uuid: number for number, uuid in enumerate(spec.gpus)}
        self._settings = detect.Settings(**((settings or {}) | {"gpu_index": numbers, "api_key": ""}))
        self._served: tuple[int, Backend] | None = None

    async def start(self) -> AsyncGenerator[Progress, None]:
        """Start it, yielding what it logs, until it serves. Closing the generator before that stops it again."""
        async with aclosing(start(self._server, self._spec, self._serves, START_SECONDS)) as steps:
            async for progress in steps:
                yield progress

    async def stop(self) -> None:
        """Stop it and all that it started, the models in its memory with it; returns when they are gone."""
        await in_thread(self._server.stop)

    def canonical(self, name: str) -> str:
        return canonical_ollama_name(name)

    async def identify(self) -> EndpointInfo:
        return await (await self._running()).identify()

    async def installed(self) -> list[InstalledModel]:
        """Every model of its folder, each with what its settings say of a load."""
        return [replace(model, launch=self._launch()) for model in await (await self._running()).installed()]

    async def shape(self, name: str) -> ModelShape:
        return await (await self._running()).shape(name)

    async def header(self, name: str) -> HeaderAnswer:
        return await (await self._running()).header(name)

    async def observe(self) -> Observation:
        """What is in memory, and the server's own state; one that does not run has nothing there."""
        server = await in_thread(self._server.look)
        if server.process_id is None or server.port is None:
            return Observation(server=server)
        port, process_id = server.port, server.process_id
        if server.state is ServerState.STARTING:
            if not await self._is_ours(port, process_id):
                return Observation(server=server)
            await in_thread(self._server.note_ready)
            server = replace(server, state=ServerState.RUNNING)
        return replace(await (await self._at(port)).observe(), server=server)

    async def load(self, name: str, options: LoadOptions) -> AsyncGenerator[Progress, None]:
        async with aclosing((await self._running()).load(name, options)) as steps:
            async for progress in steps:
                yield progress

    async def unload(self, name: str) -> None:
        await (await self._running()).unload(name)

    async def set_keep_alive(self, name: str, seconds: int, options: LoadOptions) -> None:
        await (await self._running()).set_keep_alive(name, seconds, options)

    async def generate(self, name: str, most_tokens: int, options: LoadOptions) -> Generation:
        return await (await self._running()).generate(name, most_tokens, options)

    async def pull(self, name: str) -> AsyncGenerator[Progress, None]:
        async with aclosing((await self._running()).pull(name)) as steps:
            async for progress in steps:
                yield progress

    async def delete(self, name: str) -> None:
        await (await self._running()).delete(name)

    async def aclose(self) -> None:
        """Close the connections. The server goes on."""
        if self._served is not None:
            await self._served[1].aclose()

    async def _running(self) -> Backend:
        """The Ollama itself. Raises ``Unreachable`` where it does not run."""
        port = await in_thread(self._server.port)
        if port is None:
            raise Unreachable(f"{self._spec.title} does not run.", hint="An admin starts it on its page.")
        return await self._at(port)

    async def _at(self, port: int) -> Backend:
        """The connection to the server; another one once it listens elsewhere."""
        if self._served is None or self._served[0] != port:
            await self.aclose()
            self._served = port, detect.backend_for(BackendKind.OLLAMA, f"http://{HOST}:{port}", **self._settings)
        return self._served[1]

    async def _serves(self, running: Running) -> bool:
        return await self._is_ours(running.port, running.process_id)

    async def _is_ours(self, port: int, process_id: int) -> bool:
        """Whether an Ollama answers there, and it is no other program that has the port."""
        try:
            await (await self._at(port)).identify()
        except BackendError:
            return False
        return await in_thread(listener_process, port) in (None, process_id)

    def _launch(self) -> dict[str, Any]:
        """By the names of ``backends.llama_launch``; the context is one slot's."""
        spec = self._spec
        values = {
            "ctx_size": spec.context_length,
            "parallel": spec.parallel,
            "cache_type_k": spec.kv_cache_type,
            "cache_type_v": spec.kv_cache_type,
            "flash_attn": spec.flash_attention,
            "gpus": list(spec.gpus),
        }
        return {name: value for name, value in values.items() if value not in (None, "", [])}
