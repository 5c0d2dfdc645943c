"""A server that Berth starts itself, as a backend: to load its model is to start it, to unload it is to stop it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from models_app.agent.supervision.files import installed_file
from models_app.agent.supervision.launch import HOST, settings
from models_app.agent.supervision.programs import version_of
from models_app.agent.supervision.records import Running
from models_app.agent.supervision.spec import ServerSpec
from models_app.agent.supervision.starting import in_thread, start
from models_app.agent.supervision.supervisor import Supervisor
from models_app.backends import detect
from models_app.backends.base import RefusingBackend
from models_app.backends.errors import BackendError, Busy, NotFound, Unreachable
from models_app.backends.file_headers import shape_of_header
from models_app.backends.http import Limits
from models_app.backends.llama_launch import launch_settings
from models_app.backends.names import check_served_name
from models_app.backends.options import check_options
from models_app.backends.protocol import (
    Backend,
    BackendKind,
    Capability,
    EndpointInfo,
    Generation,
    HeaderAnswer,
    InstalledModel,
    LoadOptions,
    ModelShape,
    ModelState,
    Observation,
    Progress,
    ResidentModel,
    ServerProcess,
    ServerState,
)
from models_app.gguf.errors import GgufError
from models_app.gguf.splits import read_model
from models_app.probes.families import process_family
from models_app.probes.listeners import listener_process
from models_app.probes.memory import resident_bytes

MODE = "managed"
CAPABILITIES = frozenset({Capability.LOAD, Capability.UNLOAD, Capability.RESTART, Capability.HEADER, Capability.GENERATE})
LOAD_OPTIONS = frozenset({"pinned"})


class ManagedBackend(RefusingBackend):
    """The server ``key`` of a supervisor, with the settings with which it is to be started next."""

    PROGRAM = "A managed llama-server"
    REASON = "it serves the one file that it is started with"

    def __init__(self, supervisor: Supervisor, key: str, spec: ServerSpec, limits: Limits | None = None) -> None:
        self._supervisor = supervisor
        self._server = supervisor.server(key)
        self._spec = spec
        self._limits = limits
        self._served: tuple[int, Backend] | None = None

    def canonical(self, name: str) -> str:
        """The name under which the server serves its model."""
        return check_served_name(name)

    async def identify(self) -> EndpointInfo:
        """The version is that of the program that would be started now."""
        allowed = await in_thread(self._supervisor.allowed)
        version = await in_thread(version_of, allowed.binary(self._spec.binary))
        return EndpointInfo(BackendKind.LLAMA_SERVER, MODE, version, CAPABILITIES, LOAD_OPTIONS)

    async def installed(self) -> list[InstalledModel]:
        """Its one model, also where the file is missing: the load says so then."""
        model = await in_thread(installed_file, await in_thread(self._supervisor.allowed), self._spec)
        gpus = {"gpus": list(self._spec.gpus)} if self._spec.gpus else {}
        return [replace(model, launch=launch_settings((*settings(self._spec), *self._spec.extra)) | gpus)]

    async def shape(self, name: str) -> ModelShape:
        """From the file's header."""
        return (await self.header(name)).shape

    async def header(self, name: str) -> HeaderAnswer:
        """The header of the file, no header where it cannot be read."""
        self._check(name)
        allowed = await in_thread(self._supervisor.allowed)
        path = await in_thread(allowed.model_file, self._spec.model)
        try:
            found = await in_thread(read_model, path)
        except GgufError:
            return HeaderAnswer(None, ModelShape(), str(path))
        return HeaderAnswer(found, shape_of_header(found), str(path))

    async def observe(self) -> Observation:
        """The model is on its way in while its server loads it, and while the server waits to be started again."""
        server = await in_thread(self._server.look)
        if server.process_id is not None and server.port is not None:
            return await self._observe_running(server, server.process_id, server.port)
        is_coming_back = server.state is ServerState.RESTARTING
        resident = (ResidentModel(self._spec.name, ModelState.LOADING),) if is_coming_back else ()
        return Observation(resident, {self._spec.name: server.problem} if server.problem else {}, server)

    async def load(self, name: str, options: LoadOptions) -> AsyncGenerator[Progress, None]:
        """Start the server and wait until it serves. Closing the generator before that stops it again."""
        self._check(name)
        check_options(options, LOAD_OPTIONS)
        limit_seconds = (await in_thread(self._supervisor.allowed)).start_seconds
        async with aclosing(start(self._server, self._spec, self._serves, limit_seconds)) as steps:
            async for progress in steps:
                yield progress

    async def unload(self, name: str) -> None:
        """Stop the server and all that it started; returns when they are gone."""
        self._check(name)
        await in_thread(self._server.stop)

    async def generate(self, name: str, most_tokens: int, options: LoadOptions) -> Generation:
        """Let the running server write. Raises ``NotFound`` where it does not run."""
        self._check(name)
        port = await in_thread(self._server.port)
        if port is None:
            raise NotFound(f"{name} is not loaded: its server does not run.")
        return await (await self._at(port)).generate(name, most_tokens, options)

    async def log_tail(self, count: int) -> list[str]:
        """The last lines of the server's log."""
        return await in_thread(self._server.log_tail, count)

    async def forget(self) -> None:
        """Stop the server for good and remove its log and its key."""
        await in_thread(self._server.forget)

    async def aclose(self) -> None:
        """Close the connections. The server goes on."""
        if self._served is not None:
            await self._served[1].aclose()

    async def _observe_running(self, server: ServerProcess, process_id: int, port: int) -> Observation:
        resident = await self._resident(port, is_ready=server.state is ServerState.RUNNING)
        if resident.state is not ModelState.LOADING and server.state is ServerState.STARTING:
            await in_thread(self._server.note_ready)
            server = replace(server, state=ServerState.RUNNING)
        ram_bytes = await in_thread(_ram_bytes, process_id)
        return Observation((replace(resident, process_id=process_id, port=port, host_ram_bytes=ram_bytes),), {}, server)

    async def _serves(self, running: Running) -> bool:
        """Whether the model is served, by our own process and not by another program on its port."""
        try:
            resident = await self._resident(running.port, is_ready=True)
        except BackendError:
            return False
        return resident.state is not ModelState.LOADING and await in_thread(self._listens, running)

    def _listens(self, running: Running) -> bool:
        listener = listener_process(running.port)
        return listener in (None, running.process_id) or listener in {member.pid for member in self._server.family()}

    async def _resident(self, port: int, *, is_ready: bool) -> ResidentModel:
        """What the server says. Raises ``BackendError``; a server that starts need not answer yet."""
        loading = ResidentModel(self._spec.name, ModelState.LOADING)
        try:
            found = (await (await self._at(port)).observe()).find(self._spec.name)
        except (Unreachable, Busy):
            if is_ready:
                raise
            return loading
        return found or loading

    async def _at(self, port: int) -> Backend:
        """The connection to the server; another one once it listens elsewhere."""
        if self._served is None or self._served[0] != port:
            await self.aclose()
            key = await in_thread(self._server.api_key)
            address = f"http://{HOST}:{port}"
            limits = self._limits or Limits()
            self._served = port, detect.backend_for("single", address, api_key=key, limits=limits)
        return self._served[1]

    def _check(self, name: str) -> None:
        if self.canonical(name) != self._spec.name:
            raise NotFound(f"This server has no model {name}, only {self._spec.name}.")


def _ram_bytes(process_id: int) -> int:
    return resident_bytes(process_family(process_id))
