"""What an agent says unasked of its host's endpoints, written down. It can only speak of its own."""

from __future__ import annotations

from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.roles import PANEL
from models_app.agent.codec import Malformed
from models_app.agent.failures import error_of
from models_app.agent.messages import MOST_ENDPOINTS, Announce, LocalEndpoint, Observed
from models_app.backends.errors import Unreachable
from models_app.backends.protocol import BackendKind
from models_app.inventory.models import Endpoint, Host
from models_app.inventory.names import free_name
from models_app.inventory.observe import record_failure, record_observation
from models_app.inventory.routes import AGENT, agent_url
from models_app.live import Topic, publish

MOST_NAME = 40
MOST_AGE = timedelta(minutes=5)


def announced(host: Host, message: Announce) -> None:
    """Make rows for endpoints that are new. Those that the agent no longer offers stay, and say so."""
    offered = {endpoint.name: endpoint for endpoint in message.endpoints}
    if len(message.endpoints) > MOST_ENDPOINTS or not all(map(_is_plausible, offered.values())):
        raise Malformed("an endpoint has an impossible name or kind")
    rows = {row.url: row for row in _behind_agent(host)}
    for name, endpoint in offered.items():
        row = rows.pop(agent_url(host.pk, name), None)
        if row is None:
            _add(host, endpoint)
        elif row.kind != endpoint.kind:
            Endpoint.objects.filter(pk=row.pk).update(kind=endpoint.kind, mode="")
    error = Unreachable("The agent no longer offers it.", hint="Remove it, or name it in the agent's file again.")
    for row in rows.values():
        record_failure(row, error, timezone.now())


def _behind_agent(host: Host) -> QuerySet[Endpoint]:
    """Those that the agent's file names; managed servers are the panel's own doing."""
    return Endpoint.objects.filter(host=host, url__startswith=f"{AGENT}://", managed=None)


def observed(host: Host, message: Observed) -> None:
    """What an endpoint has in memory, or why it does not say."""
    endpoint = Endpoint.objects.filter(host=host, url=agent_url(host.pk, message.endpoint[:MOST_NAME])).first()
    if endpoint is None:
        return
    age = min(timedelta(seconds=max(0.0, min(message.age_seconds, 1e6))), MOST_AGE)
    at = timezone.now() - age
    if message.observation is not None:
        record_observation(endpoint, message.observation, at)
    elif message.failed is not None:
        record_failure(endpoint, error_of(message.failed), at)


def _is_plausible(endpoint: LocalEndpoint) -> bool:
    return 0 < len(endpoint.name) <= MOST_NAME and endpoint.name.isprintable() and endpoint.kind in set(BackendKind)


def _add(host: Host, offered: LocalEndpoint) -> None:
    name = free_name(f"{offered.name} on {host.name}"[:80], Endpoint)
    try:
        with transaction.atomic():
            endpoint = Endpoint.objects.create(
                host=host, name=name, kind=offered.kind, url=agent_url(host.pk, offered.name), discovered=True
            )
            audit.record(PANEL, "endpoint.add", endpoint, url=endpoint.url, kind=offered.kind, with_key=False)
            publish(Topic.INVENTORY, endpoint.pk)
    except IntegrityError:  # another socket of the same agent was faster
        return
