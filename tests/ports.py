"""Ports for servers that are told theirs before they start."""

from __future__ import annotations

from models_app.agent.supervision import ports

BELOW_THOSE_OF_THE_SYSTEM = (10_000, 17_999)
"""What the system gives to connections, and to servers that ask for any port, another test might hold a moment later."""


def free_port() -> int:
    """A loopback port on which nobody listens."""
    return ports.free_port(BELOW_THOSE_OF_THE_SYSTEM, ())
