"""Servers that Berth starts itself: their rows, and the backend that starts, watches and stops them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.roles import PANEL, Actor
from models_app.agent.managed import managed_name
from models_app.agent.supervision.backend import CAPABILITIES, LOAD_OPTIONS, MODE, ManagedBackend
from models_app.agent.supervision.kinds import spec_from_json
from models_app.agent.supervision.ollama import OllamaSpec
from models_app.agent.supervision.ollama_backend import OllamaServer
from models_app.agent.supervision.spec import ServerSpec, Spec
from models_app.backends import detect
from models_app.backends.errors import BackendError, Rejected, ServerStopped, Unreachable
from models_app.backends.protocol import Backend, BackendKind, ServerProcess, ServerState
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.guards import Guard, check_guard, losses
from models_app.inventory.models import Endpoint, Gpu, Host, ManagedServer
from models_app.inventory.names import checked_name, free_name, unless_taken
from models_app.inventory.routes import LOCAL, agent_url, is_managed_url
from models_app.inventory.server_hosts import server_host, supervisor
from models_app.live import Topic, publish

log = logging.getLogger(__name__)
_UNASKED = (ServerState.RESTARTING, ServerState.GIVEN_UP)
_ABSENT = {
    ServerState.STOPPED: ("It is stopped.", "An admin starts it on its page."),
    ServerState.STARTING: ("It starts.", "It answers in a moment."),
    ServerState.RESTARTING: ("It ended unasked and is started again.", "Its page says why."),
    ServerState.GIVEN_UP: ("It ended unasked too often.", "Its page says why, and starts it again."),
}


def is_managed(endpoint: Endpoint) -> bool:
    """Whether Berth starts and stops the endpoint's server."""
    return is_managed_url(endpoint.url)


def spec_of(endpoint: Endpoint) -> Spec:
    """How a managed endpoint's server is started next."""
    return spec_from_json(endpoint.managed.spec)


def managed_backend(endpoint: Endpoint, settings: detect.Settings) -> Backend:
    """The backend of a managed endpoint on the panel's own machine."""
    key, spec = endpoint.managed.key, spec_of(endpoint)
    if isinstance(spec, OllamaSpec):
        return OllamaServer(supervisor(), key, spec, settings)
    assert isinstance(spec, ServerSpec)  # noqa: S101 - there is no third kind
    return ManagedBackend(supervisor(), key, spec, settings.get("limits"))


def add_managed(actor: Actor, host: Host, name: str, spec: Spec) -> Endpoint:
    """A new endpoint whose server Berth starts: a llama-server when its model is loaded, an Ollama when it is told to.

    Raises ``InventoryRefused``.
    """
    key = secrets.token_hex(8)
    name = checked_name(name or free_name(spec.name[:80], Endpoint), Endpoint)
    put_spec(host, key, spec)
    with _taken_back(lambda: server_host(host).forget(key)), unless_taken(Endpoint):
        endpoint = Endpoint.objects.create(
            host=host,
            name=name,
            url=f"{LOCAL}://{key}" if host.is_local else agent_url(host.pk, managed_name(key)),
            **_first_columns(spec),
        )
        ManagedServer.objects.create(endpoint=endpoint, key=key, spec=spec.as_json())
        audit.record(actor, "server.add", endpoint, host=host.name, spec=spec.as_json())
        publish(Topic.INVENTORY, endpoint.pk)
    return endpoint


def update_managed(actor: Actor, endpoint: Endpoint, name: str, spec: Spec) -> Endpoint:
    """Give a server other settings; one that runs goes on with its own until it is restarted.

    Raises ``InventoryRefused``. The model keeps its name while it is loaded: its rows go by it.
    """
    name = checked_name(name, Endpoint, endpoint)
    server = ManagedServer.objects.get(endpoint=endpoint)
    if isinstance(spec, ServerSpec) and spec.name != server.spec["name"] and server.process_id is not None:
        raise InventoryRefused("server_runs", "Stop the server before its model gets another name.", "name")
    put_spec(endpoint.host, server.key, spec)
    before = spec_from_json(server.spec)
    with _taken_back(lambda: server_host(endpoint.host).put(server.key, before)), unless_taken(Endpoint):
        Endpoint.objects.filter(pk=endpoint.pk).update(name=name)
        ManagedServer.objects.filter(pk=server.pk).update(spec=spec.as_json())
        audit.record(actor, "server.update", endpoint, spec=spec.as_json(), was=server.spec)
        publish(Topic.INVENTORY, endpoint.pk)
    return Endpoint.objects.select_related("host", "managed").get(pk=endpoint.pk)


def remove_managed(actor: Actor, endpoint: Endpoint, *, guard: Guard) -> dict[str, int]:
    """Stop a server, then forget it with all that belongs to it; what was lost, by kind.

    Raises ``InventoryRefused`` where ``guard`` objects and where it cannot be stopped.
    """
    check_guard(endpoint, guard)
    try:
        server_host(endpoint.host).forget(endpoint.managed.key)
    except BackendError as error:
        raise InventoryRefused(error.code, f"The server was not stopped: {error.message}", hint=error.hint) from error
    return _delete(actor, endpoint, guard)


def log_tail(endpoint: Endpoint, count: int) -> list[str]:
    """The last lines of a managed server's log. Raises ``BackendError``."""
    return list(server_host(endpoint.host).log_tail(endpoint.managed.key, count))


def must_restart(server: ManagedServer) -> bool:
    """Whether what runs was started with other settings than are set now."""
    return bool(server.settings_digest) and server.settings_digest != spec_from_json(server.spec).digest


def listening_port(endpoint: Endpoint) -> int:
    """Where the server of an endpoint on the panel's own machine listens."""
    return (endpoint.managed.port if is_managed(endpoint) else urlsplit(endpoint.url).port) or 80


def put_spec(host: Host, key: str, spec: Spec) -> None:
    """Raises ``InventoryRefused`` for what could not be started on this host, with the field at fault."""
    known = set(Gpu.objects.filter(host=host, present=True).values_list("uuid", flat=True))
    if unknown := [uuid for uuid in spec.gpus if uuid not in known]:
        raise InventoryRefused("unknown_gpu", f"{host.name} has no GPU {unknown[0]}.", "gpus")
    if isinstance(spec, OllamaSpec) and known and not spec.gpus:
        raise InventoryRefused("gpu_needed", "Choose the GPUs that this Ollama is to have.", "gpus")
    try:
        server_host(host).put(key, spec)
    except Rejected as error:
        raise InventoryRefused(error.code, error.message, error.option or "name", error.hint) from error
    except BackendError as error:
        raise InventoryRefused(error.code, error.message, hint=error.hint) from error


@contextmanager
def _taken_back(undo: Callable[[], None]) -> Iterator[None]:
    """Write the rows of what a host was given in here: where that fails, the host is told to ``undo`` it.

    Not in one transaction with the host's answer: its agent is asked by a row that others must see.
    """
    try:
        yield
    except Exception:
        try:
            undo()
        except BackendError as error:
            log.warning("A host keeps what a server was to be started with: %s", error.message)
        raise


def server_news(endpoint: Endpoint, server: ServerProcess | None) -> dict[str, Any]:
    """The columns of a managed endpoint's row that an observation changes."""
    if server is None or not is_managed(endpoint):
        return {}
    known = ManagedServer.objects.get(endpoint=endpoint)
    observed = asdict(server) | {"state": server.state.value}
    return {name: value for name, value in observed.items() if getattr(known, name) != value}


def record_server(endpoint: Endpoint, news: dict[str, Any]) -> None:
    """Write what ``server_news`` found; a crash is an audit entry."""
    ManagedServer.objects.filter(endpoint=endpoint).update(**news)
    if news.get("problem") and (news.get("state") in _UNASKED or news.get("restarts")):
        audit.record(PANEL, "server.crash", endpoint, problem=news["problem"], restarts=news.get("restarts"))


def absence(endpoint: Endpoint, server: ServerProcess | None) -> BackendError | None:
    """Why an Ollama that Berth starts has no models now; ``None`` for a llama-server, which is started by a load."""
    if server is None or endpoint.kind != BackendKind.OLLAMA or server.state not in _ABSENT:
        return None
    kind = ServerStopped if server.state is ServerState.STOPPED else Unreachable
    message, hint = _ABSENT[server.state]
    return kind(message, hint=hint if is_managed(endpoint) else "Its agent's log says why.")


def _first_columns(spec: Spec) -> dict[str, Any]:
    """What is known of an endpoint before anybody has asked it."""
    if isinstance(spec, OllamaSpec):
        return {"kind": BackendKind.OLLAMA.value, "mode": BackendKind.OLLAMA.value}
    return {
        "kind": BackendKind.LLAMA_SERVER.value,
        "mode": MODE,
        "capabilities": sorted(CAPABILITIES),
        "load_options": sorted(LOAD_OPTIONS),
        "state": Endpoint.State.ONLINE,
        "last_seen_at": timezone.now(),
    }


@transaction.atomic
def _delete(actor: Actor, endpoint: Endpoint, guard: Guard) -> dict[str, int]:
    endpoint = Endpoint.objects.select_for_update().get(pk=endpoint.pk)
    check_guard(endpoint, guard)
    lost = losses(endpoint)
    audit.record(actor, "server.remove", endpoint, lost=lost)
    endpoint.delete()
    publish(Topic.INVENTORY)
    return lost
