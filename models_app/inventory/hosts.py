"""Adding, renaming and removing hosts."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction

from models_app.accounts import audit
from models_app.accounts.roles import PANEL, Actor
from models_app.inventory.addresses import is_loopback
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.guards import Guard, check_guard, check_unmanaged, losses
from models_app.inventory.models import Host
from models_app.inventory.names import MAX_NAME_LENGTH, checked_name, free_name, unless_taken
from models_app.live import Topic, publish
from models_app.probes.host import hostname

MAX_TAGS = 20
MAX_TAG_LENGTH = 40


def ensure_local_host() -> Host:
    """The row of the machine that the panel runs on, made at its first start."""
    with transaction.atomic():
        known = Host.objects.filter(is_local=True).order_by("pk").first()
        if known is not None:
            return known
        host = Host.objects.create(name=free_name(hostname()[:MAX_NAME_LENGTH] or "local", Host), is_local=True)
        audit.record(PANEL, "host.add", host)
        publish(Topic.INVENTORY)
    return host


def own_host_at(url: str) -> Host | None:
    """The panel's own host, where an address leads to it (or to another machine through a tunnel)."""
    try:
        return Host.objects.filter(is_local=True).first() if is_loopback(url) else None
    except ValueError:
        return None


def add_host(actor: Actor, name: str, tags: Iterable[str] = ()) -> Host:
    """A new host, without GPUs until something samples it. Raises ``InventoryRefused``."""
    with unless_taken(Host):
        host = Host.objects.create(name=checked_name(name, Host), tags=_checked_tags(tags))
        audit.record(actor, "host.add", host)
        publish(Topic.INVENTORY)
    return host


def update_host(actor: Actor, host: Host, *, name: str | None = None, tags: Iterable[str] | None = None) -> Host:
    """Rename or retag a host; ``None`` leaves as it is. Raises ``InventoryRefused``."""
    with unless_taken(Host):
        host = Host.objects.select_for_update().get(pk=host.pk)
        before = host.name
        host.name = host.name if name is None else checked_name(name, Host, host)
        host.tags = host.tags if tags is None else _checked_tags(tags)
        host.save(update_fields=["name", "tags"])
        audit.record(actor, "host.update", host, was=before, tags=host.tags)
        publish(Topic.INVENTORY)
    return host


def rename(actor: Actor, host: Host, name: str) -> Host:
    """Give a host another name. Raises ``InventoryRefused``."""
    return update_host(actor, host, name=name)


def remove_host(actor: Actor, host: Host, *, guard: Guard) -> dict[str, int]:
    """Remove a host with all that belongs to it; what was lost, by kind.

    Raises ``InventoryRefused`` for the panel's own host and where ``guard`` objects to the removal of an endpoint.
    """
    with transaction.atomic():
        host = Host.objects.select_for_update().get(pk=host.pk)
        if host.is_local:
            raise InventoryRefused("host_is_local", "This is the machine that the panel runs on; it stays in the list.")
        for endpoint in host.endpoints.select_for_update():
            check_unmanaged(endpoint)
            check_guard(endpoint, guard)
        lost = losses(host)
        audit.record(actor, "host.remove", host, lost=lost)
        host.delete()
        publish(Topic.INVENTORY)
    return lost


def _checked_tags(tags: Iterable[str]) -> list[str]:
    kept = sorted({tag.strip() for tag in tags} - {""})
    if len(kept) > MAX_TAGS or any(len(tag) > MAX_TAG_LENGTH or not tag.isprintable() for tag in kept):
        raise InventoryRefused("tags_invalid", f"At most {MAX_TAGS} tags of at most {MAX_TAG_LENGTH} characters.", "tags")
    return kept
