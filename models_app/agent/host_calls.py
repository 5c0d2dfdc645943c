"""What a panel may ask of the agent itself, beside a sample all about the servers that the panel puts on its machine.

Paths are opened and programs started only as far as the machine's owner allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType
from typing import Any

from models_app.agent.calls import Call, Nothing, Report, follow
from models_app.agent.managed import OllamaChoices, managed_name
from models_app.agent.supervision.files import FileHeader, Listing
from models_app.agent.supervision.ollama import OllamaSpec
from models_app.agent.supervision.spec import ServerSpec
from models_app.probes.types import HostSample

MOST_LOG_LINES = 1000


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


@dataclass(frozen=True, slots=True)
class OfOllama:
    """An Ollama server by its key, with its settings."""

    key: str
    spec: OllamaSpec


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


async def _ollama_choices(agent: Any, _: Nothing, __: Report) -> OllamaChoices:
    choices: OllamaChoices = await agent.managed.ollama_choices()
    return choices


async def _put_ollama(agent: Any, given: OfOllama, _: Report) -> None:
    await agent.managed.put(given.key, given.spec)
    await agent.endpoints.drop(managed_name(given.key))


async def _start_server(agent: Any, given: OfServer, report: Report) -> None:
    await follow(agent.managed.start(given.key), report)


async def _stop_server(agent: Any, given: OfServer, _: Report) -> None:
    await agent.managed.stop(given.key)


async def _forget_server(agent: Any, given: OfServer, _: Report) -> None:
    await agent.managed.forget(given.key)
    await agent.endpoints.drop(managed_name(given.key))


async def _server_log(agent: Any, given: OfServer, _: Report) -> list[str]:
    lines: list[str] = await agent.managed.log_tail(given.key, min(given.count, MOST_LOG_LINES))
    return lines


HOST_CALLS: dict[str, Call] = {
    call.name: call
    for call in (
        Call("sample", Nothing, HostSample, _sample),
        Call("programs", Nothing, list[str], _programs),
        Call("list_files", Wanted, Listing, _list_files),
        Call("read_file", AtPath, FileHeader, _read_file),
        Call("put_server", OfServer, NoneType, _put_server),
        Call("ollama_choices", Nothing, OllamaChoices, _ollama_choices),
        Call("put_ollama", OfOllama, NoneType, _put_ollama),
        Call("start_server", OfServer, NoneType, _start_server),
        Call("stop_server", OfServer, NoneType, _stop_server),
        Call("forget_server", OfServer, NoneType, _forget_server),
        Call("server_log", OfServer, list[str], _server_log),
    )
}
