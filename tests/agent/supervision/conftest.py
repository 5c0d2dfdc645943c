"""The machine of ``tests.fixtures.managed``, and a load to its end."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from models_app.agent.supervision.backend import ManagedBackend
from models_app.backends.protocol import LoadOptions
from tests.fixtures.managed import Machine


@pytest.fixture
def machine(managed_machine: Machine) -> Machine:
    return managed_machine


async def load(backend: ManagedBackend) -> list[str]:
    """Load the model; what the server logged meanwhile."""
    lines: list[str] = []
    async with aclosing(backend.load("tiny", LoadOptions())) as steps:
        async for progress in steps:
            lines += progress.lines
    return lines
