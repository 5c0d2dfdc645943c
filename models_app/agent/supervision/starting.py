"""Starting a server and waiting until it serves, with a verdict where it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import ParamSpec, TypeVar

from models_app.agent.supervision.logs import LogReader
from models_app.agent.supervision.records import Running
from models_app.agent.supervision.server import Server
from models_app.agent.supervision.spec import Spec
from models_app.backends.errors import BackendError, LoadFailed, OutOfMemory
from models_app.backends.failures import is_out_of_memory
from models_app.backends.protocol import Progress

MOST_PORTS = 5
LAST_LINES = 8
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 0.5
_PORT_TAKEN = ("couldn't bind", "could not bind", "address already in use")

P = ParamSpec("P")
T = TypeVar("T")
Serves = Callable[[Running], Awaitable[bool]]
"""Whether the server that was started serves its model."""


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run what reads files and waits for processes. A full disk or a missing folder is a verdict, not a crash."""
    try:
        return await asyncio.to_thread(call, *args, **kwargs)
    except OSError as error:
        raise LoadFailed(f"{error.filename or 'A file'}: {error.strerror}.") from error


async def start(server: Server, spec: Spec, serves: Serves, limit_seconds: float) -> AsyncGenerator[Progress, None]:
    """Start the server, yielding what it logs, until it serves.

    Where it does not, for whatever reason, or where the generator is closed before, it is stopped again. Raises
    ``BackendError``.
    """
    begun = asyncio.create_task(in_thread(server.start, spec))
    problem, is_ready = "Its start was broken off.", False
    try:
        running = await asyncio.shield(begun)
        async with aclosing(_until_ready(server, spec, serves, limit_seconds, running)) as steps:
            async for progress in steps:
                yield progress
        await in_thread(server.note_ready)
        is_ready = True
    except BackendError as error:
        problem = error.message
        raise
    finally:
        if not is_ready:
            await asyncio.shield(_stop(server, begun, problem))


async def _stop(server: Server, begun: asyncio.Task[Running], problem: str) -> None:
    """A start that is under way in its thread comes to its end first; one that was refused has started nothing."""
    try:
        await begun
    except BackendError:
        return
    await in_thread(server.stop, problem)


async def _until_ready(
    server: Server, spec: Spec, serves: Serves, limit_seconds: float, running: Running
) -> AsyncGenerator[Progress, None]:
    """On another port where the first is taken."""
    taken: set[int] = set()
    while True:
        async with aclosing(_follow(server, serves, limit_seconds, running)) as news:
            async for lines in news:
                yield Progress("starting", lines=lines)
        if await serves(running):
            return
        taken.add(running.port)
        await _check_port_was_taken(server, taken)
        running = await in_thread(server.start, spec, taken)
        yield Progress("starting", lines=(f"The port was taken by another program; trying port {running.port}.",))


async def _follow(
    server: Server, serves: Serves, limit_seconds: float, running: Running
) -> AsyncGenerator[tuple[str, ...], None]:
    """What the server logs until it serves or has ended."""
    log = LogReader(running.log, running.log_offset)
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + limit_seconds, _FIRST_PAUSE_SECONDS
    while True:
        is_over = (await in_thread(server.look)).process_id != running.process_id or await serves(running)
        if lines := await in_thread(log.read):
            yield tuple(lines)
        if is_over:
            return
        if loop.time() > deadline:
            raise await _failure(server, f"It did not become healthy within {limit_seconds:g} seconds.")
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, _LONGEST_PAUSE_SECONDS)


async def _check_port_was_taken(server: Server, taken: set[int]) -> None:
    """Raises why the server has ended where that was not the reason, and where it was too often."""
    tail = await in_thread(server.log_tail, LAST_LINES)
    is_taken = any(sign in line.lower() for line in tail for sign in _PORT_TAKEN)
    if not is_taken or len(taken) >= MOST_PORTS:
        raise await _failure(server, await in_thread(server.why_ended))


async def _failure(server: Server, what: str) -> BackendError:
    tail = await in_thread(server.log_tail, LAST_LINES)
    message = f"{what} Its last lines: {' | '.join(tail)}" if tail else f"{what} It has logged nothing."
    if is_out_of_memory("\n".join(tail)):
        return OutOfMemory(message, hint="Unload another model, or give it fewer layers or a shorter context.")
    return LoadFailed(message, hint="Its last lines say why: often a damaged file or too little memory.")
