"""The closed set of what a panel may ask of an agent. Nothing in it is a URL, a path or a command line.

A call has a name, the class of its arguments, the annotation of its answer, and what performs it: on one of the local
endpoints, or, for those in ``HOST_CALLS``, on the agent itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

from models_app.agent.managed import managed_name
from models_app.agent.supervision.files import FileHeader, Listing
from models_app.agent.supervision.spec import ServerSpec
from models_app.backends.protocol import (
    Backend,
    EndpointInfo,
    Generation,
    HeaderAnswer,
    InstalledModel,
    LoadOptions,
    ModelShape,
    Observation,
    Progress,
)
from models_app.probes.types import HostSample

MOST_LOG_LINES = 1000

Report = Callable[[Progress], None]
Perform = Callable[[Any, Any, Report], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Call:
    """One thing that can be asked. ``perform`` gets the backend (or the agent), the arguments, and where to report to."""

    name: str
    arguments: type[Any]
    answer: Any
    perform: Perform


@dataclass(frozen=True, slots=True)
class Nothing:
    """No arguments."""


@dataclass(frozen=True, slots=True)
class Named:
    """A model by its name at the endpoint."""

    name: str


@dataclass(frozen=True, slots=True)
class WithOptions:
    """A model with the options of its load; ``seconds`` of a keep-alive, ``most_tokens`` of a text."""

    name: str
    options: LoadOptions = field(default_factory=LoadOptions)
    seconds: int = 0
    most_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Words that a file's path holds."""

    words: str = ""


@dataclass(frozen=True, slots=True)
class AtPath:
    """A model file, which the agent opens only in the folders that its owner allows."""

    path: str


@dataclass(frozen=True, slots=True)
class OfServer:
    """A managed server by its key, with its settings, or how many lines of its log."""

    key: str
    spec: ServerSpec | None = None
    count: int = 0


async def _identify(backend: Backend, _: Nothing, __: Report) -> EndpointInfo:
    return await backend.identify()


async def _installed(backend: Backend, _: Nothing, __: Report) -> list[InstalledModel]:
    return await backend.installed()


async def _shape(backend: Backend, given: Named, _: Report) -> ModelShape:
    return await backend.shape(given.name)


async def _header(backend: Backend, given: Named, _: Report) -> HeaderAnswer:
    return await backend.header(given.name)


async def _observe(backend: Backend, _: Nothing, __: Report) -> Observation:
    return await backend.observe()


async def _load(backend: Backend, given: WithOptions, report: Report) -> None:
    await _follow(backend.load(given.name, given.options), report)


async def _unload(backend: Backend, given: Named, _: Report) -> None:
    await backend.unload(given.name)


async def _set_keep_alive(backend: Backend, given: WithOptions, _: Report) -> None:
    await backend.set_keep_alive(given.name, given.seconds, given.options)


async def _generate(backend: Backend, given: WithOptions, _: Report) -> Generation:
    return await backend.generate(given.name, given.most_tokens, given.options)


async def _pull(backend: Backend, given: Named, report: Report) -> None:
    await _follow(backend.pull(given.name), report)


async def _delete(backend: Backend, given: Named, _: Report) -> None:
    await backend.delete(given.name)


async def _follow(steps: AsyncGenerator[Progress, None], report: Report) -> None:
    """Closing the generator, however this ends, aborts what is not finished."""
    async with aclosing(steps):
        async for progress in steps:
            report(progress)


async def _sample(agent: Any, _: Nothing, __: Report) -> HostSample:
    sample: HostSample = await agent.sample_now()
    return sample


async def _programs(agent: Any, _: Nothing, __: Report) -> list[str]:
    names: list[str] = await agent.managed.programs()
    return names


async def _list_files(agent: Any, given: Wanted, _: Report) -> Listing:
    listing: Listing = await agent.managed.list_files(given.words)
    return listing


async def _read_file(agent: Any, given: AtPath, _: Report) -> FileHeader:
    file: FileHeader = await agent.managed.read_file(given.path)
    return file


async def _put_server(agent: Any, given: OfServer, _: Report) -> None:
    if given.spec is not None:
        await agent.managed.put(given.key, given.spec)
    await agent.endpoints.drop(managed_name(given.key))


async def _forget_server(agent: Any, given: OfServer, _: Report) -> None:
    await agent.managed.forget(given.key)
    await agent.endpoints.drop(managed_name(given.key))


async def _server_log(agent: Any, given: OfServer, _: Report) -> list[str]:
    lines: list[str] = await agent.managed.log_tail(given.key, min(given.count, MOST_LOG_LINES))
    return lines


ENDPOINT_CALLS: dict[str, Call] = {
    call.name: call
    for call in (
        Call("identify", Nothing, EndpointInfo, _identify),
        Call("installed", Nothing, list[InstalledModel], _installed),
        Call("shape", Named, ModelShape, _shape),
        Call("header", Named, HeaderAnswer, _header),
        Call("observe", Nothing, Observation, _observe),
        Call("load", WithOptions, NoneType, _load),
        Call("unload", Named, NoneType, _unload),
        Call("set_keep_alive", WithOptions, NoneType, _set_keep_alive),
        Call("generate", WithOptions, Generation, _generate),
        Call("pull", Named, NoneType, _pull),
        Call("delete", Named, NoneType, _delete),
    )
}
HOST_CALLS: dict[str, Call] = {
    call.name: call
    for call in (
        Call("sample", Nothing, HostSample, _sample),
        Call("programs", Nothing, list[str], _programs),
        Call("list_files", Wanted, Listing, _list_files),
        Call("read_file", AtPath, FileHeader, _read_file),
        Call("put_server", OfServer, NoneType, _put_server),
        Call("forget_server", OfServer, NoneType, _forget_server),
        Call("server_log", OfServer, list[str], _server_log),
    )
}
"""Asked of the agent itself."""


def find(name: str, *, of_host: bool) -> Call | None:
    """The call of that name, of the host or of an endpoint."""
    return (HOST_CALLS if of_host else ENDPOINT_CALLS).get(name)
