"""A simulated host with its row, sampled through its registered probe."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from models_app.inventory.models import Host
from models_app.simulation.hardware import SimulatedHost
from models_app.telemetry import sources
from tests.factories import HostFactory


@pytest.fixture
def host(db: None, simulated_host: SimulatedHost) -> Iterator[Host]:
    host = HostFactory(name="testbed")
    sources.register(host, simulated_host)
    yield host
    sources.unregister(host)
