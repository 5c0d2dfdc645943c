"""A signed POST to an address that somebody typed in: guarded like an endpoint's, bounded, never redirected."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time

import httpx

from models_app.backends.address import AddressPolicy
from models_app.backends.errors import BackendError
from models_app.backends.failures import error_from_exception
from models_app.backends.transport import GuardedTransport

POST_SECONDS = 10.0
CONNECT_SECONDS = 3.0


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """HMAC-SHA256 in hexadecimal over ``timestamp``, a dot and the body: a message that was captured soon is too old."""
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


async def post_signed(
    url: str, body: bytes, secret: str, message_id: str, policy: AddressPolicy, seconds: float = POST_SECONDS
) -> int:
    """Post the JSON ``body`` and return the status of the answer, whose body is not read. Raises ``BackendError``.

    ``message_id`` is the same at every attempt, so that a receiver can tell a repeat.
    """
    timestamp = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Berth",
        "Berth-Message": message_id,
        "Berth-Timestamp": str(timestamp),
        "Berth-Signature": f"v1={signature(secret, timestamp, body)}",
    }
    address = httpx.URL(policy.check_url(url))
    try:
        async with (
            asyncio.timeout(seconds),
            _client(policy, seconds) as client,
            client.stream("POST", address, content=body, headers=headers) as answer,
        ):
            return answer.status_code
    except BackendError:
        raise
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        raise error_from_exception(error, address) from error


def _client(policy: AddressPolicy, seconds: float) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=GuardedTransport(policy, 1),
        timeout=httpx.Timeout(seconds, connect=CONNECT_SECONDS),
        trust_env=False,
        follow_redirects=False,
    )
