"""What an agent says unasked of its host's endpoints, written down. It can only speak of its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.roles import PANEL, Actor
from models_app.agent.codec import Malformed
from models_app.agent.config import MANAGED
from models_app.agent.failures import error_of
from models_app.agent.messages import MOST_ENDPOINTS, Announce, LocalEndpoint, Observed
from models_app.backends.errors import Unreachable
from models_app.backends.protocol import BackendKind
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.models import Endpoint, Host
from models_app.inventory.names import free_name
from models_app.inventory.observe import record_failure, record_observations
from models_app.inventory.routes import AGENT, agent_url
from models_app.live import Topic, publish

MOST_NAME = 40
MOST_AGE = timedelta(minutes=5)
log = logging.getLogger(__name__)
_full: set[int] = set()
"""Hosts, by their ids, of which it was said that they have as many endpoints as are kept."""


def announced(host: Host, message: Announce) -> None:
    """Make rows for endpoints that are new and were not removed here. Those that the agent no longer offers say so."""
    offered = {endpoint.name: endpoint for endpoint in message.endpoints}
    if len(message.endpoints) > MOST_ENDPOINTS or not all(map(_is_plausible, offered.values())):
        raise Malformed("an endpoint has an impossible name or kind")
    rows = {row.url: row for row in _behind_agent(host)}
    known = len(rows)
    dismissed = Host.objects.values_list("dismissed_names", flat=True).get(pk=host.pk)
    for name, endpoint in offered.items():
        if name in dismissed:
            continue
        row = rows.pop(agent_url(host.pk, name), None)
        if row is None and known >= MOST_ENDPOINTS:
            _refuse(host, name)
        elif row is None:
            known += 1
            _add(host, endpoint)
        elif row is not None and row.kind != endpoint.kind:
            Endpoint.objects.filter(pk=row.pk).update(kind=endpoint.kind, mode="")
    error = Unreachable("The agent no longer offers it.", hint="Remove it, or name it in the agent's file again.")
    for row in rows.values():
        record_failure(row, error, timezone.now())


def _refuse(host: Host, name: str) -> None:
    """Of a host that has as many as are kept: said once, for an agent may announce others without end."""
    if host.pk not in _full:
        _full.add(host.pk)
        log.warning("%s has %d endpoints: %s and others that its agent announces are not added", host, MOST_ENDPOINTS, name)


def _behind_agent(host: Host) -> QuerySet[Endpoint]:
    """Those that the agent's file names; managed servers are the panel's own doing."""
    return Endpoint.objects.filter(host=host, url__startswith=f"{AGENT}://", managed=None)


def bring_back(actor: Actor, host: Host, name: str) -> Endpoint:
    """List again what was removed and the agent may still announce. Raises ``InventoryRefused``."""
    with transaction.atomic():
        dismissed = Host.objects.select_for_update().get(pk=host.pk).dismissed_names
        if name not in dismissed:
            raise InventoryRefused("not_removed", f"No endpoint {name!r} of {host.name} was removed.", "name")
        endpoint = _add(host, LocalEndpoint(name, dismissed.pop(name)), actor)
        Host.objects.filter(pk=host.pk).update(dismissed_names=dismissed)
    return endpoint


@dataclass(frozen=True, slots=True)
class Seen:
    """What an agent said of one of its host's endpoints, and when that was so."""

    host: Host
    message: Observed
    at: datetime

    @classmethod
    def now(cls, host: Host, message: Observed) -> Seen:
        """Of a message that has just come."""
        age = min(timedelta(seconds=max(0.0, min(message.age_seconds, 1e6))), MOST_AGE)
        return cls(host, message, timezone.now() - age)

    @property
    def url(self) -> str:
        return agent_url(self.host.pk, self.message.endpoint[:MOST_NAME])


def observed(batch: Sequence[Seen]) -> set[int]:
    """Write down what endpoints have in memory, or why they do not say. The ids of the hosts of which it was news."""
    rows = {row.url: row for row in Endpoint.objects.filter(url__in={seen.url for seen in batch}).select_related("managed")}
    known = [(rows[seen.url], seen) for seen in batch if seen.url in rows]
    told = [(row, seen.message.observation, seen.at) for row, seen in known if seen.message.observation is not None]
    changed = {endpoint.host_id for endpoint in record_observations(told)}
    for row, seen in known:
        if seen.message.observation is None and seen.message.failed is not None:
            record_failure(row, error_of(seen.message.failed), seen.at)
    return changed


def _is_plausible(endpoint: LocalEndpoint) -> bool:
    is_name = 0 < len(endpoint.name) <= MOST_NAME and endpoint.name.isprintable()
    return is_name and not endpoint.name.startswith(MANAGED) and endpoint.kind in set(BackendKind)


def _add(host: Host, offered: LocalEndpoint, actor: Actor = PANEL) -> Endpoint:
    """The endpoint's row, which another socket of the same agent may have made meanwhile."""
    url = agent_url(host.pk, offered.name)
    try:
        with transaction.atomic():
            name = free_name(f"{offered.name} on {host.name}"[:80], Endpoint)
            endpoint = Endpoint.objects.create(host=host, name=name, kind=offered.kind, url=url, discovered=True)
            audit.record(actor, "endpoint.add", endpoint, url=url, kind=offered.kind, with_key=False)
            publish(Topic.INVENTORY, endpoint.pk)
    except IntegrityError:
        endpoint = Endpoint.objects.get(url=url)
    return endpoint
