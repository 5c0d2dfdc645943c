"""The ways to an endpoint: by its own address, or through the agent on its host.

An endpoint that only an agent reaches has the address ``agent://HOST_ID/NAME``, with the name in the agent's configuration.
A server that Berth starts itself has ``managed://KEY`` on the panel's own machine, and the name ``managed.KEY`` behind an
agent, which no agent may announce. No person can enter such addresses: the policy of addresses refuses their schemes.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from models_app.agent.config import MANAGED
from models_app.backends.protocol import Backend
from models_app.inventory.models import Endpoint

AGENT = "agent"
LOCAL = "managed"

Route = Callable[[Endpoint], Backend]

_routes: dict[str, Route] = {}


def add_route(scheme: str, route: Route) -> None:
    """Reach endpoints with addresses of this scheme by ``route``, which asks nothing of them."""
    _routes[scheme] = route


def route_to(endpoint: Endpoint) -> Route | None:
    """The route of the endpoint's scheme; ``None`` where it is called directly."""
    return _routes.get(urlsplit(endpoint.url).scheme)


def agent_url(host_id: int, name: str) -> str:
    """The address of an endpoint behind the agent of a host."""
    return f"{AGENT}://{host_id}/{name}"


def agent_endpoint(url: str) -> str | None:
    """The name that the agent gives to the endpoint; ``None`` for one that is called directly."""
    parts = urlsplit(url)
    return parts.path.removeprefix("/") if parts.scheme == AGENT else None


def is_direct(url: str) -> bool:
    """Whether an endpoint is called at its own address: no agent stands before it, and Berth has not started it."""
    return urlsplit(url).scheme not in (AGENT, LOCAL)


def is_managed_url(url: str) -> bool:
    """Whether this is the address of a server that Berth starts itself."""
    return urlsplit(url).scheme == LOCAL or (agent_endpoint(url) or "").startswith(MANAGED)
