"""llama-server in router mode, which starts a server process for each model it loads (written against 2026-08 builds).

Only ``/models`` and ``/props`` without a model are asked: ``/slots`` and ``/metrics`` can wake or load a model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from models_app.backends.base import HttpBackend, in_background
from models_app.backends.errors import BackendError, BadAnswer, Busy, NotFound, Rejected, ServerFault, TimedOut
from models_app.backends.http import Call, Http
from models_app.backends.llama_answers import (
    RESIDENT_STATES,
    RouterEntry,
    download_progress,
    installed_from_router,
    resident_from_router,
    router_entries,
    shape_from_meta,
)
from models_app.backends.llama_generate import generate
from models_app.backends.llama_load import News, check_deadline, follow_load, listen, now
from models_app.backends.names import check_name, check_registry
from models_app.backends.options import check_options
from models_app.backends.protocol import (
    BackendKind,
    Capability,
    EndpointInfo,
    Generation,
    InstalledModel,
    LoadOptions,
    ModelShape,
    ModelState,
    Observation,
    Progress,
)
from models_app.backends.shapes import as_object, text

CAPABILITIES = frozenset(
    {
        Capability.LOAD,
        Capability.UNLOAD,
        Capability.PULL,
        Capability.DELETE,
        Capability.LOAD_PROGRESS,
        Capability.GENERATE,
    }
)
# How a model is loaded stands in the router's presets; a request names only the model.
LOAD_OPTIONS = frozenset({"pinned"})

_PULL_PAUSE_SECONDS = 0.5
_WAITING_NEWS = 100


class LlamaRouterBackend(HttpBackend):
    """One llama-server router."""

    PROGRAM = "A llama-server router"
    REASON = "its presets say how long an idle model stays"

    def __init__(self, http: Http) -> None:
        super().__init__(http)
        self._unloading: set[str] = set()

    def canonical(self, name: str) -> str:
        return check_name(name)

    async def identify(self) -> EndpointInfo:
        props = as_object(await self._http.json("GET", "/props"), "The properties")
        if props.get("role") != "router":
            raise BadAnswer("This llama-server is no router.")
        version = text(props.get("build_info"))
        return EndpointInfo(BackendKind.LLAMA_SERVER, "router", version, CAPABILITIES, LOAD_OPTIONS)

    async def installed(self) -> list[InstalledModel]:
        return [installed_from_router(entry) for entry in await self._entries() if entry.is_installed]

    async def shape(self, name: str) -> ModelShape:
        return shape_from_meta((await self._entry(self.canonical(name))).meta)

    async def observe(self) -> Observation:
        """What the router lists. A process that ended because we asked for it has not failed, whatever its exit code."""
        entries = await self._entries()
        return Observation(
            tuple(resident_from_router(entry) for entry in entries if entry.status in RESIDENT_STATES),
            {entry.name: entry.failure for entry in entries if entry.failure and entry.name not in self._unloading},
        )

    async def load(self, name: str, options: LoadOptions) -> AsyncGenerator[Progress, None]:
        """Load and follow. A load that somebody else began is not aborted when the generator is closed."""
        check_options(options, LOAD_OPTIONS)
        name = self.canonical(name)
        self._unloading.discard(name)
        news: News = asyncio.Queue(_WAITING_NEWS)
        follow = follow_load(lambda: self._entry(name), news, self._http.limits.load_seconds)
        # The order has the kept connection: a new one waits up to 5 s where idle ones hold all threads of the server.
        async with (
            self._abandoned_unless_done(name, self._start(name)),
            in_background(listen(self._http, name, news)),
            aclosing(follow) as steps,
        ):
            async for progress in steps:
                yield progress

    async def unload(self, name: str) -> None:
        name = self.canonical(name)
        self._unloading.add(name)
        try:
            await self._http.json("POST", "/models/unload", call=Call.COMMAND, body={"model": name})
        except Rejected as error:
            if "not running" not in error.message:
                raise _unknown(name, error) from error

    async def generate(self, name: str, most_tokens: int, options: LoadOptions) -> Generation:  # noqa: ARG002
        """A sleeping model is not woken."""
        name = self.canonical(name)
        resident = (await self.observe()).find(name)
        if resident is None or resident.state is not ModelState.LOADED:
            raise NotFound(f"{name} is not loaded.")
        return await generate(self._http, name, most_tokens)

    async def pull(self, name: str) -> AsyncGenerator[Progress, None]:
        """Download from Hugging Face, ``organisation/repository[:quantisation]``. Closing the generator cancels it."""
        name = check_registry(self.canonical(name), frozenset())
        deadline = now() + self._http.limits.stream_seconds
        async with self._abandoned_unless_done(name, self._start_download(name)):
            while (entry := await self._downloaded(name)) and not entry.is_installed:
                yield download_progress(entry.download)
                check_deadline(deadline, f"{name} is still being downloaded.")
                await asyncio.sleep(_PULL_PAUSE_SECONDS)
        if entry is None:
            raise ServerFault(f"The router could not download {name}.", hint="Does it exist, and can the host reach it?")

    async def delete(self, name: str) -> None:
        name = self.canonical(name)
        try:
            await self._http.json("DELETE", "/models", call=Call.COMMAND, query={"model": name})
        except (Rejected, ServerFault) as error:
            if "not removable" in error.message:
                raise Rejected(error.message, status=error.status, hint="Remove its file on the host.") from error
            raise _unknown(name, error) from error

    async def _start(self, name: str) -> bool:
        """Orders the load. False where the model is loaded or being loaded already."""
        try:
            await self._http.json("POST", "/models/load", call=Call.COMMAND, body={"model": name})
        except Rejected as error:
            if "already running" not in error.message:
                raise _unknown(name, error) from error
            return False
        except NotFound as error:
            raise _unknown(name, error) from error
        except ServerFault as error:
            if "limit reached" in error.message:
                raise Busy(error.message, status=error.status, hint="Unload a model, or raise --models-max.") from error
            raise
        return True

    async def _start_download(self, name: str) -> bool:
        await self._http.json("POST", "/models", call=Call.COMMAND, body={"model": name})
        return True

    @asynccontextmanager
    async def _abandoned_unless_done(self, name: str, order: Coroutine[Any, Any, bool]) -> AsyncIterator[None]:
        """Orders a load or a download, and stops it, as far as the router can be reached, where the block is cut off.

        An order on its way is waited for all the same: the router may have begun, and its answer says whose load it is.
        """
        ordering = asyncio.create_task(order)
        try:
            await asyncio.shield(ordering)
            yield
        except (asyncio.CancelledError, GeneratorExit, TimedOut):
            with suppress(BackendError):
                if await ordering:
                    await self.unload(name)
            raise

    async def _downloaded(self, name: str) -> RouterEntry | None:
        entries = router_entries(await self._http.json("GET", "/models", query={"reload": "1"}))
        return next((entry for entry in entries if entry.name == name or entry.name.startswith(f"{name}:")), None)

    async def _entries(self) -> list[RouterEntry]:
        return router_entries(await self._http.json("GET", "/models"))

    async def _entry(self, name: str) -> RouterEntry:
        found = next((entry for entry in await self._entries() if entry.name == name), None)
        if found is None:
            raise NotFound(f"The router does not know the model {name}.")
        return found


def _unknown(name: str, error: BackendError) -> BackendError:
    """``NotFound`` where the router's words mean that; builds differ in the status."""
    if "not found" in error.message.lower():
        return NotFound(f"The router does not know the model {name}.", status=error.status)
    return error
