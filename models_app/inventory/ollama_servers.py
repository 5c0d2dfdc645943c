"""Starting and stopping the Ollama servers of Berth; a managed llama-server is started by loading its model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from asgiref.sync import async_to_sync

from models_app.accounts import audit
from models_app.accounts.roles import Actor
from models_app.agent.supervision.ollama import OllamaSpec
from models_app.backends.errors import BackendError
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.guards import Guard, check_guard
from models_app.inventory.managed import spec_of
from models_app.inventory.models import Endpoint
from models_app.inventory.observe import look_and_record
from models_app.inventory.refresh import refresh_installed
from models_app.inventory.server_hosts import server_host


def start_ollama(actor: Actor, endpoint: Endpoint) -> None:
    """Start the server and wait until it serves. Raises ``InventoryRefused``, and then it is stopped."""
    spec = _spec(endpoint)
    audit.record(actor, "server.start", endpoint)
    _do(endpoint, lambda: server_host(endpoint.host).start(endpoint.managed.key, spec), "was not started")


def stop_ollama(actor: Actor, endpoint: Endpoint, *, guard: Guard) -> None:
    """Stop the server; what it has in memory goes with it. Raises ``InventoryRefused``, also where ``guard`` objects."""
    _spec(endpoint)
    check_guard(endpoint, guard)
    audit.record(actor, "server.stop", endpoint)
    _do(endpoint, lambda: server_host(endpoint.host).stop(endpoint.managed.key), "was not stopped")


def restart_ollama(actor: Actor, endpoint: Endpoint, *, guard: Guard) -> None:
    """Stop the server and start it with its settings of now. Raises ``InventoryRefused``."""
    stop_ollama(actor, endpoint, guard=guard)
    start_ollama(actor, endpoint)


def _spec(endpoint: Endpoint) -> OllamaSpec:
    spec = spec_of(endpoint)
    if isinstance(spec, OllamaSpec):
        return spec
    message = f"{endpoint.name} is a llama-server: it is started by loading its model, and stopped by unloading it."
    raise InventoryRefused("not_an_ollama", message)


def _do(endpoint: Endpoint, call: Callable[[], None], problem: str) -> None:
    """Whether or not it succeeds, the rows say afterwards how things are."""
    try:
        call()
    except BackendError as error:
        raise InventoryRefused(error.code, f"{endpoint.name} {problem}: {error.message}", hint=error.hint) from error
    finally:
        look_at(endpoint)


def look_at(endpoint: Endpoint) -> None:
    """Bring its rows up to date, as far as it answers."""
    async_to_sync(_look)(endpoint)


async def _look(endpoint: Endpoint) -> None:
    with suppress(BackendError):
        await look_and_record(endpoint)
        await refresh_installed(endpoint)
