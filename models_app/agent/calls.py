"""What a panel may ask of an agent's endpoints: a closed set, in which nothing is a URL, a path or a command line.

A call has a name, the class of its arguments, the annotation of its answer, and what performs it. What is asked of the
agent itself is in ``agent.host_calls``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

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
    await follow(backend.load(given.name, given.options), report)


async def _unload(backend: Backend, given: Named, _: Report) -> None:
    await backend.unload(given.name)


async def _set_keep_alive(backend: Backend, given: WithOptions, _: Report) -> None:
    await backend.set_keep_alive(given.name, given.seconds, given.options)


async def _generate(backend: Backend, given: WithOptions, _: Report) -> Generation:
    return await backend.generate(given.name, given.most_tokens, given.options)


async def _pull(backend: Backend, given: Named, report: Report) -> None:
    await follow(backend.pull(given.name), report)


async def _delete(backend: Backend, given: Named, _: Report) -> None:
    await backend.delete(given.name)


async def follow(steps: AsyncGenerator[Progress, None], report: Report) -> None:
    """Report every step. Closing the generator, however this ends, aborts what is not finished."""
    async with aclosing(steps):
        async for progress in steps:
            report(progress)


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
