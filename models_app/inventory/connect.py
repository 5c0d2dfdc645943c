"""From an endpoint's row to a backend that talks to it, and the test of an address before there is a row."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass

from django.conf import settings

from controlpanel.encrypted import Unreadable
from models_app.backends import detect
from models_app.backends.address import AddressPolicy
from models_app.backends.errors import BackendError, Busy, Unauthorized
from models_app.backends.http import Limits
from models_app.backends.names import OLLAMA_REGISTRY
from models_app.backends.protocol import Backend, BackendKind, EndpointInfo
from models_app.inventory.managed import is_managed, managed_backend
from models_app.inventory.models import Endpoint, Gpu
from models_app.inventory.routes import route_to

KEY_AGAIN = "Enter the key again, at Hosts → Edit."


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """What a test of an address found. Where ``ok`` is false, ``code``, ``message`` and ``hint`` say why and what to do."""

    ok: bool
    info: EndpointInfo | None = None
    model_count: int = 0
    code: str = ""
    message: str = ""
    hint: str = ""


def policy() -> AddressPolicy:
    """Which addresses may be called, by the settings."""
    return AddressPolicy(allowed_ports=settings.ENDPOINT_PORTS)


def backend_for(endpoint: Endpoint) -> Backend:
    """The backend for a row; nothing is asked of it. Close it when done.

    Raises ``AddressRefused``, and ``Unauthorized`` where the stored key cannot be read.

    Reads the GPUs of an Ollama's host or how a server is started, so it is called outside of event loops.
    """
    return _own_backend(endpoint) or _direct_backend(endpoint, _gpu_index(endpoint))


def canonical_name(endpoint: Endpoint, name: str) -> str:
    """The endpoint's own form of a model's name. Raises ``InvalidName`` and ``AddressRefused``."""
    if own := _own_backend(endpoint):
        return own.canonical(name)
    without_key = detect.backend_for(endpoint.mode, endpoint.url, **_settings(""))  # nothing is asked of it
    return without_key.canonical(name)


def _own_backend(endpoint: Endpoint) -> Backend | None:
    """That of an endpoint which is not simply called at its address."""
    if route := route_to(endpoint):
        return route(endpoint)
    return managed_backend(endpoint, _settings("")) if is_managed(endpoint) else None


def _direct_backend(endpoint: Endpoint, gpu_index: dict[str, int]) -> Backend:
    return detect.backend_for(endpoint.mode, endpoint.url, **_settings(endpoint.api_key, gpu_index))


def _gpu_index(endpoint: Endpoint) -> dict[str, int]:
    """Only an Ollama is told of GPUs by their numbers."""
    if endpoint.kind != BackendKind.OLLAMA:
        return {}
    present = Gpu.objects.filter(host_id=endpoint.host_id, present=True).order_by()
    return dict(present.values_list("uuid", "index"))


async def test_connection(
    url: str,
    kind: BackendKind | None = None,  # noqa: PT028 - no test, but what people call it
    api_key: str = "",  # noqa: PT028
) -> ConnectionReport:
    """Ask an address who it is and what it has. Never raises ``BackendError``: a failure is a report."""
    try:
        async with aclosing(await detect.connect(url, kind=kind, **_settings(api_key))) as backend:
            info = await backend.identify()
            return ConnectionReport(True, info, model_count=await _model_count(backend))
    except BackendError as error:
        return ConnectionReport(False, code=error.code, message=error.message, hint=error.hint)


async def _model_count(backend: Backend) -> int:
    """A llama-server that is still loading its only model cannot list it yet."""
    try:
        return len(await backend.installed())
    except Busy:
        return 0


def _settings(api_key: str, gpu_index: dict[str, int] | None = None) -> detect.Settings:
    if isinstance(api_key, Unreadable):
        raise Unauthorized("The stored API key cannot be read: the panel has another secret key now.", hint=KEY_AGAIN)
    return {
        "api_key": api_key,
        "gpu_index": gpu_index or {},
        "policy": policy(),
        "limits": Limits(
            poll_seconds=settings.CALL_TIMEOUT_SECONDS,
            command_seconds=max(settings.CALL_TIMEOUT_SECONDS, Limits().command_seconds),
            load_seconds=settings.LOAD_TIMEOUT_SECONDS,
            stream_seconds=settings.PULL_TIMEOUT_SECONDS,
        ),
        "allowed_registries": frozenset({OLLAMA_REGISTRY, *(name.lower() for name in settings.MODEL_REGISTRIES)}),
    }
