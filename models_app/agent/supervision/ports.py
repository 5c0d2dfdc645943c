"""A port for a server to listen on."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

from models_app.agent.supervision.launch import HOST
from models_app.backends.errors import Busy

_TRIES = 200


def free_port(ports: tuple[int, int], avoid: Collection[int]) -> int:
    """A port of the inclusive range on which nothing listens now. Raises ``Busy`` where none is found.

    Where the search begins is chance, so that two that search at once rarely meet.
    """
    low, high = ports
    count = high - low + 1
    start = random.randrange(count)  # noqa: S311 - no secret
    for step in range(min(count, _TRIES)):
        port = low + (start + step) % count
        if port not in avoid and _is_free(port):
            return port
    raise Busy(f"No port from {low} to {high} is free.", hint="Widen the range of ports in the allow-list.")


def _is_free(port: int) -> bool:
    try:
        with socket.create_server((HOST, port), reuse_port=False):
            return True
    except OSError:
        return False
