"""Servers that Berth starts itself: their rows, and the backend that starts, watches and stops them."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from typing import Any

from django.db import transaction
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.roles import PANEL, Actor
from models_app.agent.managed import managed_name
from models_app.agent.supervision.backend import CAPABILITIES, LOAD_OPTIONS, MODE, ManagedBackend
from models_app.agent.supervision.spec import ServerSpec
from models_app.backends.errors import BackendError, Rejected
from models_app.backends.http import Limits
from models_app.backends.protocol import BackendKind, ServerProcess, ServerState
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.guards import Guard, check_guard, losses
from models_app.inventory.models import Endpoint, Gpu, Host, ManagedServer
from models_app.inventory.names import checked_name, free_name
from models_app.inventory.routes import agent_url
from models_app.inventory.server_hosts import server_host, supervisor
from models_app.live import Topic, publish

_UNASKED = (ServerState.RESTARTING, ServerState.GIVEN_UP)


def is_managed(endpoint: Endpoint) -> bool:
    """Whether Berth starts and stops the endpoint's server."""
    return endpoint.mode == MODE and hasattr(endpoint, "managed")


def spec_of(endpoint: Endpoint) -> ServerSpec:
    """How a managed endpoint's server is started next."""
    return ServerSpec.from_json(endpoint.managed.spec)


def managed_backend(endpoint: Endpoint, limits: Limits | None = None) -> ManagedBackend:
    """The backend of a managed endpoint."""
    return ManagedBackend(supervisor(), endpoint.managed.key, spec_of(endpoint), limits)


def add_managed(actor: Actor, host: Host, name: str, spec: ServerSpec) -> Endpoint:
    """A new endpoint whose server Berth starts when its model is loaded. Raises ``InventoryRefused``."""
    key = secrets.token_hex(8)
    put_spec(host, key, spec)
    with transaction.atomic():
        endpoint = Endpoint.objects.create(
            host=host,
            name=checked_name(name or free_name(spec.name[:80], Endpoint), Endpoint),
            kind=BackendKind.LLAMA_SERVER.value,
            mode=MODE,
            url=f"{MODE}://{key}" if host.is_local else agent_url(host.pk, managed_name(key)),
            capabilities=sorted(CAPABILITIES),
            load_options=sorted(LOAD_OPTIONS),
            state=Endpoint.State.ONLINE,
            last_seen_at=timezone.now(),
        )
        ManagedServer.objects.create(endpoint=endpoint, key=key, spec=spec.as_json())
        audit.record(actor, "server.add", endpoint, host=host.name, spec=spec.as_json())
        publish(Topic.INVENTORY, endpoint.pk)
    return endpoint


def update_managed(actor: Actor, endpoint: Endpoint, name: str, spec: ServerSpec) -> Endpoint:
    """Give a server other settings; one that runs goes on with its own until it is restarted.

    Raises ``InventoryRefused``. The model keeps its name while it is loaded: its rows go by it.
    """
    name = checked_name(name, Endpoint, endpoint)
    server = ManagedServer.objects.get(endpoint=endpoint)
    if spec.name != server.spec["name"] and server.process_id is not None:
        raise InventoryRefused("server_runs", "Stop the server before its model gets another name.", "name")
    put_spec(endpoint.host, server.key, spec)
    with transaction.atomic():
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
    return bool(server.settings_digest) and server.settings_digest != ServerSpec.from_json(server.spec).digest


def put_spec(host: Host, key: str, spec: ServerSpec) -> None:
    """Raises ``InventoryRefused`` for what could not be started on this host, with the field at fault."""
    known = set(Gpu.objects.filter(host=host, present=True, uuid__in=spec.gpus).values_list("uuid", flat=True))
    if unknown := [uuid for uuid in spec.gpus if uuid not in known]:
        raise InventoryRefused("unknown_gpu", f"{host.name} has no GPU {unknown[0]}.", "gpus")
    try:
        server_host(host).put(key, spec)
    except Rejected as error:
        raise InventoryRefused(error.code, error.message, error.option or "name", error.hint) from error
    except BackendError as error:
        raise InventoryRefused(error.code, error.message, hint=error.hint) from error


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


@transaction.atomic
def _delete(actor: Actor, endpoint: Endpoint, guard: Guard) -> dict[str, int]:
    endpoint = Endpoint.objects.select_for_update().get(pk=endpoint.pk)
    check_guard(endpoint, guard)
    lost = losses(endpoint)
    audit.record(actor, "server.remove", endpoint, lost=lost)
    endpoint.delete()
    publish(Topic.INVENTORY)
    return lost
