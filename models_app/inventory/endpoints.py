"""Adding, changing and removing endpoints. One that does not answer is not added: what it can do would be a guess."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from asgiref.sync import sync_to_async
from django.db import transaction
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.roles import Actor
from models_app.backends.protocol import BackendKind, EndpointInfo
from models_app.inventory.addresses import address_key, checked_url, is_loopback, port_of
from models_app.inventory.connect import test_connection
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.guards import Guard, check_guard, check_unmanaged, losses
from models_app.inventory.managed import is_managed
from models_app.inventory.models import Endpoint, Host
from models_app.inventory.names import checked_name, free_name, unless_taken
from models_app.inventory.routes import agent_endpoint
from models_app.live import Topic, publish

MAX_KEY_LENGTH = 255
_PROGRAMS = {BackendKind.OLLAMA: "ollama", BackendKind.LLAMA_SERVER: "llama-server"}
_DEFAULT_PORTS = {BackendKind.OLLAMA: 11434}


async def add_endpoint(
    actor: Actor,
    host: Host,
    name: str,
    url: str,
    api_key: str = "",
    kind: BackendKind | None = None,
    *,
    discovered: bool = False,
) -> Endpoint:
    """A new endpoint, once it has said what it is. An empty ``name`` is made from that. Raises ``InventoryRefused``."""
    address = await sync_to_async(checked_url)(url)
    info = await _identified(address, api_key, kind)
    return await sync_to_async(_insert)(actor, host, name, address, api_key, info, discovered=discovered)


async def update_endpoint(
    actor: Actor, endpoint: Endpoint, *, name: str | None = None, url: str | None = None, api_key: str | None = None
) -> Endpoint:
    """Change what is given; ``None`` leaves as it is. Raises ``InventoryRefused``.

    A key is never sent to another address than the one it was entered for: with a new address it is entered again.
    """
    if not (url is None and api_key is None) and await sync_to_async(is_managed)(endpoint):
        raise InventoryRefused("managed_endpoint", "Berth starts this server: its address and key are its own.", "url")
    address = endpoint.url if url in (None, endpoint.url) else await sync_to_async(checked_url)(url, endpoint)
    if api_key is None and endpoint.api_key and address_key(address)[:2] != address_key(endpoint.url)[:2]:
        raise InventoryRefused("key_needed", "Enter the API key again: it is not sent to another address.", "api_key")
    key = endpoint.api_key if api_key is None else api_key
    info = None if (address, key) == (endpoint.url, endpoint.api_key) else await _identified(address, key, None)
    return await sync_to_async(_update)(actor, endpoint, name, address, key, info)


def remove_endpoint(actor: Actor, endpoint: Endpoint, *, guard: Guard) -> dict[str, int]:
    """Remove an endpoint with all that belongs to it; what was lost, by kind. Discovery and agents do not add it again.

    Raises ``InventoryRefused`` where ``guard`` objects. The server itself goes on running.
    """
    with transaction.atomic():
        endpoint = Endpoint.objects.select_for_update().get(pk=endpoint.pk)
        check_unmanaged(endpoint)
        check_guard(endpoint, guard)
        lost = losses(endpoint)
        audit.record(actor, "endpoint.remove", endpoint, url=endpoint.url, lost=lost)
        _set_dismissed(endpoint.host_id, endpoint.url, dismissed=True)
        _dismiss_announced(endpoint)
        endpoint.delete()
        publish(Topic.INVENTORY)
    return lost


def described(info: EndpointInfo) -> dict[str, Any]:
    """What an endpoint says of itself, as columns of its row."""
    return {
        "kind": info.kind.value,
        "mode": info.mode,
        "version": info.version[:60],
        "capabilities": sorted(info.capabilities),
        "load_options": sorted(info.load_options),
        "warnings": list(info.warnings),
    }


def _online(info: EndpointInfo) -> dict[str, Any]:
    reached = {"state": Endpoint.State.ONLINE, "last_seen_at": timezone.now()}
    return described(info) | reached | dict.fromkeys(("state_code", "state_message", "state_hint"), "")


async def _identified(url: str, api_key: str, kind: BackendKind | None) -> EndpointInfo:
    if len(api_key) > MAX_KEY_LENGTH:
        raise InventoryRefused("key_invalid", f"An API key has at most {MAX_KEY_LENGTH} characters.", "api_key")
    report = await test_connection(url, kind, api_key)
    if report.info is None:
        field = "api_key" if report.code == "endpoint_unauthorized" else "url"
        raise InventoryRefused(report.code, report.message, field, report.hint)
    return report.info


def _insert(
    actor: Actor, host: Host, name: str, url: str, api_key: str, info: EndpointInfo, *, discovered: bool
) -> Endpoint:
    with transaction.atomic():
        checked_url(url)
        name = checked_name(name or free_name(_default_name(info, host, url), Endpoint), Endpoint)
        endpoint = Endpoint(host=host, name=name, url=url, api_key=api_key, discovered=discovered, **_online(info))
        with _unless_taken():
            endpoint.save(force_insert=True)
        audit.record(actor, "endpoint.add", endpoint, url=url, kind=info.kind.value, with_key=bool(api_key))
        _set_dismissed(host.pk, url, dismissed=False)
        publish(Topic.INVENTORY, endpoint.pk)
    return endpoint


def _update(
    actor: Actor, endpoint: Endpoint, name: str | None, url: str, api_key: str, info: EndpointInfo | None
) -> Endpoint:
    """``endpoint`` is as it was read before the address was asked: what somebody else has changed since is not undone."""
    changed: dict[str, Any] = {} if info is None else _online(info) | {"url": url, "api_key": api_key}
    with transaction.atomic():
        before = Endpoint.objects.select_for_update().filter(pk=endpoint.pk).first()
        if before is None:
            raise InventoryRefused("endpoint_gone", f"Somebody has removed {endpoint.name} meanwhile.")
        if changed and (before.url, before.api_key) != (endpoint.url, endpoint.api_key):
            raise InventoryRefused("endpoint_changed", "Somebody else has changed its address or its key meanwhile.", "url")
        if changed:
            checked_url(url, before)
        if name is not None:
            changed["name"] = checked_name(name, Endpoint, before)
        for column, value in changed.items():
            setattr(before, column, value)
        with _unless_taken():
            before.save(update_fields=changed)
        new_key = bool(info) and api_key != endpoint.api_key
        audit.record(actor, "endpoint.update", before, was=endpoint.name, url=url, was_url=endpoint.url, new_key=new_key)
        publish(Topic.INVENTORY, endpoint.pk)
    return before


def _unless_taken() -> AbstractContextManager[None]:
    return unless_taken(Endpoint, "address or name", code="address_taken", field="url")


def _default_name(info: EndpointInfo, host: Host, url: str) -> str:
    """``ollama`` on the panel's own host, ``ollama on gpu-1`` elsewhere; the port where it is not the usual one."""
    port = port_of(url)
    program = _PROGRAMS[info.kind] + ("" if port == _DEFAULT_PORTS.get(info.kind) else f" :{port}")
    return program if host.is_local else f"{program} on {host.name}"[:80]


def _set_dismissed(host_id: int, url: str, *, dismissed: bool) -> None:
    host = Host.objects.select_for_update().get(pk=host_id)
    if not (host.is_local and is_loopback(url)):
        return
    ports = set(host.dismissed_ports)
    ports = ports | {port_of(url)} if dismissed else ports - {port_of(url)}
    Host.objects.filter(pk=host_id).update(dismissed_ports=sorted(ports))


def _dismiss_announced(endpoint: Endpoint) -> None:
    """Its agent will announce it again and again."""
    if name := agent_endpoint(endpoint.url):
        host = Host.objects.select_for_update().get(pk=endpoint.host_id)
        Host.objects.filter(pk=host.pk).update(dismissed_names=host.dismissed_names | {name: endpoint.kind})
