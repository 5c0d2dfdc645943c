"""Which backend listens at an address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, Unpack

import httpx

from models_app.backends.address import AddressPolicy
from models_app.backends.errors import BadAnswer, Busy, NotFound, Rejected
from models_app.backends.http import Http, Limits
from models_app.backends.llama_router import LlamaRouterBackend
from models_app.backends.llama_single import LlamaSingleBackend
from models_app.backends.names import OLLAMA_REGISTRY
from models_app.backends.ollama import OllamaBackend
from models_app.backends.protocol import Backend, BackendKind, EndpointInfo
from models_app.backends.shapes import as_object, text

_PROGRAMS = {BackendKind.OLLAMA: "Ollama", BackendKind.LLAMA_SERVER: "llama-server"}


class Settings(TypedDict, total=False):
    """How to talk to an endpoint. Each may be left out."""

    api_key: str
    policy: AddressPolicy
    limits: Limits
    gpu_index: Mapping[str, int]
    """A GPU's UUID to the number by which an Ollama knows it."""
    allowed_registries: frozenset[str]
    """The registries from which an Ollama may pull."""
    transport: httpx.AsyncBaseTransport
    """Replaces the network in tests."""


def backend_for(mode: str, url: str, **settings: Unpack[Settings]) -> Backend:
    """The backend for an endpoint whose mode (``EndpointInfo.mode``) is known, without asking it anything.

    Raises ``AddressRefused``, and ``ValueError`` for another mode.
    """
    return _backend(mode, _http(url, settings), settings)


async def connect(url: str, *, kind: BackendKind | None = None, **settings: Unpack[Settings]) -> Backend:
    """The backend for whatever answers at ``url``; ``kind`` insists on one program. Close it when done.

    Raises ``BadAnswer`` where something else answers, and what ``Backend.identify`` raises.
    """
    http = _http(url, settings)
    try:
        return _backend(await _mode(http, kind), http, settings)
    except BaseException:
        await http.aclose()
        raise


async def identify(url: str, *, kind: BackendKind | None = None, **settings: Unpack[Settings]) -> EndpointInfo:
    """What answers at ``url``. Raises as ``connect`` does."""
    backend = await connect(url, kind=kind, **settings)
    try:
        return await backend.identify()
    finally:
        await backend.aclose()


def _http(url: str, settings: Settings) -> Http:
    return Http(
        url,
        api_key=settings.get("api_key", ""),
        policy=settings.get("policy"),
        limits=settings.get("limits"),
        transport=settings.get("transport"),
    )


def _backend(mode: str, http: Http, settings: Settings) -> Backend:
    match mode:
        case "ollama":
            registries = settings.get("allowed_registries", frozenset({OLLAMA_REGISTRY}))
            return OllamaBackend(http, gpu_index=settings.get("gpu_index"), allowed_registries=registries)
        case "router":
            return LlamaRouterBackend(http)
        case "single":
            return LlamaSingleBackend(http)
    raise ValueError(f"There is no mode {mode!r}.")


async def _mode(http: Http, kind: BackendKind | None) -> str:
    if kind is not BackendKind.LLAMA_SERVER and await _is_ollama(http):
        return "ollama"
    if kind is not BackendKind.OLLAMA and (mode := await _llama_mode(http)):
        return mode
    raise BadAnswer(
        f"Something answers at {http.base.host}, but not as {_PROGRAMS[kind] if kind else 'Ollama or llama-server'}.",
        hint="Check the port. Ollama listens on 11434 by default, llama-server on its --port.",
    )


async def _is_ollama(http: Http) -> bool:
    try:
        answer = as_object(await http.json("GET", "/api/version"), "The version")
    except (NotFound, Rejected, BadAnswer):
        return False
    except Busy as error:
        return _refuses_while_loading(error)
    return bool(text(answer.get("version")))


async def _llama_mode(http: Http) -> str:
    """``router``, ``single`` or empty."""
    try:
        props = as_object(await http.json("GET", "/props"), "The properties")
    except (NotFound, Rejected, BadAnswer):
        return ""
    except Busy as error:
        _refuses_while_loading(error)
        return "single"
    if props.get("role") == "router":
        return "router"
    return "single" if "total_slots" in props else ""


def _refuses_while_loading(error: Busy) -> bool:
    """False for a llama-server that is still loading its model, which answers 503 to everything. Else raises the error."""
    if "loading" not in error.message.lower():
        raise error
    return False
