"""What agents that have gone silent leave behind: their endpoints are not reached, and what they were asked is over."""

from __future__ import annotations

from django.utils import timezone

from models_app.agent_link import commands
from models_app.agent_link.models import AWAY_AFTER, Agent
from models_app.agent_link.waiting import away_error
from models_app.inventory.models import Endpoint
from models_app.inventory.observe import record_failure
from models_app.inventory.routes import AGENT

TICK_SECONDS = 2.0


def tick() -> None:
    """Say of every endpoint behind a silent agent that it is not reached; tidy the commands up."""
    now = timezone.now()
    online = Endpoint.objects.filter(state=Endpoint.State.ONLINE, url__startswith=f"{AGENT}://").select_related("host")
    heard = online.filter(host__agent__last_seen_at__gt=now - AWAY_AFTER, host__agent__revoked_at=None)
    silent = list(online.exclude(pk__in=heard.values("pk")))
    agents = {agent.host_id: agent for agent in Agent.objects.filter(host__in={row.host_id for row in silent})}
    for row in silent:
        if error := away_error(agents.get(row.host_id), row.host.name):
            record_failure(row, error, now)
    commands.tidy()
