"""When two addresses are the same endpoint."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from models_app.backends.errors import AddressRefused
from models_app.inventory.connect import policy
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.models import Endpoint

MAX_URL_LENGTH = 255
LOOPBACK = "loopback"


def checked_url(url: str, endpoint: Endpoint | None = None) -> str:
    """The canonical form of an address. Raises ``InventoryRefused`` for a forbidden one and for another endpoint's."""
    try:
        canonical = str(policy().check_url(url.strip()))
    except AddressRefused as error:
        raise InventoryRefused(error.code, error.message, "url", error.hint) from error
    if len(canonical) > MAX_URL_LENGTH:
        raise InventoryRefused("address_refused", f"An address has at most {MAX_URL_LENGTH} characters.", "url")
    taken = endpoint_at(canonical)
    if taken is not None and taken != endpoint:
        raise InventoryRefused("address_taken", f"This address is already in the list, as “{taken.name}”.", "url")
    return canonical


def endpoint_at(url: str) -> Endpoint | None:
    """The endpoint at an address, however loopback is spelt in it."""
    key = address_key(url)
    return next((row for row in Endpoint.objects.all() if address_key(row.url) == key), None)


def address_key(url: str) -> tuple[str, int, str]:
    """Host, port and path; every spelling of loopback is one host."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or {"https": 443}.get(parts.scheme, 80)
    return (LOOPBACK if _is_loopback(host) else host, port, parts.path.rstrip("/"))


def is_loopback(url: str) -> bool:
    """Whether an address leads to the panel's own machine."""
    return address_key(url)[0] == LOOPBACK


def port_of(url: str) -> int:
    """The port of an address."""
    return address_key(url)[1]


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback
