"""The way to an endpoint's socket: resolve, check every address, connect to the very address that was checked."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Iterable

import httpcore
import httpx

from models_app.backends.address import AddressPolicy

# The most addresses of one name that are tried.
_MAX_ADDRESSES = 8


class GuardedNetworkBackend(httpcore.AsyncNetworkBackend):
    """Connects by the policy. TLS above it still verifies the name, for httpcore takes that from the URL."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first checked address that accepts one, ``timeout`` seconds for all of them together.

        Raises ``AddressRefused`` if any address of the name is forbidden.
        """
        started = time.monotonic()
        failure: Exception = httpcore.ConnectError(f"The name {host} has no address.")
        for address in await self._checked_addresses(host, port, timeout):
            left = None if timeout is None else max(timeout - (time.monotonic() - started), 0.001)
            try:
                return await self._sockets.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _checked_addresses(self, host: str, port: int, timeout: float | None) -> list[str]:
        addresses = [host] if _is_ip(host) else await _resolved(host, port, timeout)
        for address in addresses:
            self._policy.check_ip(ipaddress.ip_address(address))
        return addresses[:_MAX_ADDRESSES]

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def _resolved(host: str, port: int, timeout: float | None) -> list[str]:
    try:
        async with asyncio.timeout(timeout):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise httpcore.ConnectTimeout(f"The name {host} was not resolved in time.") from error
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(str(error)) from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over a ``GuardedNetworkBackend``, without proxies, HTTP/2 or retries.

    httpx offers no argument for the network backend, so its pool is replaced; the TLS context is made on first use.
    """

    def __init__(self, policy: AddressPolicy, max_connections: int) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            network_backend=GuardedNetworkBackend(policy),
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=30,
        )
