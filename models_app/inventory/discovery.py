"""Finds the Ollama and the llama-servers of the panel's own host, and forgets those that were there for a moment only."""

from __future__ import annotations

import logging
from datetime import timedelta

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.models import AuditEntry
from models_app.accounts.roles import PANEL
from models_app.inventory.addresses import is_loopback, port_of
from models_app.inventory.endpoints import add_endpoint
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.guards import losses
from models_app.inventory.models import Endpoint, Host
from models_app.inventory.server_hosts import supervisor
from models_app.live import Topic, publish
from models_app.probes.listeners import find_listeners

log = logging.getLogger(__name__)

A_MOMENT = timedelta(minutes=15)
GONE_AFTER = timedelta(minutes=1)
SEEN_ONLY = frozenset({"installations", "loaded models"})
"""Rows of an endpoint that say what was seen there, not what anybody did."""


async def discover(host: Host) -> list[Endpoint]:
    """Add every server on loopback that says it is one and is not in the list yet; the new rows.

    What an admin removed is not added again. A port where something else answers is passed over.
    """
    listeners = await sync_to_async(find_listeners, thread_sensitive=False)()
    known = await sync_to_async(_known_ports)(host)
    found = [await _add(host, listener.port) for listener in listeners if listener.port not in known]
    return [endpoint for endpoint in found if endpoint is not None]


async def _add(host: Host, port: int) -> Endpoint | None:
    try:
        return await add_endpoint(PANEL, host, "", f"http://127.0.0.1:{port}", discovered=True)
    except InventoryRefused as error:
        log.debug("nothing added on port %d: %s", port, error)
        return None


def forget_passing(host: Host) -> None:
    """Remove servers that were found, went again within ``A_MOMENT``, and that nobody used or touched.

    Somebody tried something out on a port that it will not have again: kept, it would be an alert until somebody removed
    it. What starts there once more is found once more.
    """
    away = host.endpoints.filter(discovered=True, managed=None, state=Endpoint.State.UNREACHABLE)
    gone = away.filter(last_seen_at__lt=timezone.now() - GONE_AFTER)
    for endpoint in gone.filter(last_seen_at__lt=F("created_at") + A_MOMENT):
        if not _is_touched(endpoint):
            with transaction.atomic():
                audit.record(PANEL, "endpoint.forget", endpoint, url=endpoint.url, reason="It was there for a moment only.")
                endpoint.delete()
                publish(Topic.INVENTORY)


def _is_touched(endpoint: Endpoint) -> bool:
    """Whether anybody changed it, or had something done there."""
    changed = AuditEntry.objects.filter(object_type="endpoint", object_id=endpoint.pk).exclude(via=PANEL.via)
    return changed.exists() or not losses(endpoint).keys() <= SEEN_ONLY


def _known_ports(host: Host) -> set[int]:
    """Ports of this machine that are in the list, were dismissed, or are the panel's own and its servers'."""
    urls = Endpoint.objects.filter(managed=None).values_list("host_id", "url")
    listed = {port_of(url) for host_id, url in urls if host_id == host.pk or is_loopback(url)}
    dismissed = Host.objects.values_list("dismissed_ports", flat=True).get(pk=host.pk)
    return listed | set(dismissed) | supervisor().ports() | {settings.PORT}
