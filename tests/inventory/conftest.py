"""An endpoint's row for each simulated server."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async

from models_app.accounts.roles import Actor, Via
from models_app.inventory.endpoints import add_endpoint
from models_app.inventory.models import Endpoint, Host
from tests.factories import HostFactory

ADA = Actor(None, "ada", Via.WEB)


@pytest.fixture
async def host(transactional_db: None) -> Host:
    return await sync_to_async(HostFactory)(name="gpu-1")


@pytest.fixture
async def ollama(host: Host, ollama_simulator: Any) -> Endpoint:
    return await add_endpoint(ADA, host, "ollama", ollama_simulator.url)


@pytest.fixture
async def router(host: Host, router_simulator: Any) -> Endpoint:
    return await add_endpoint(ADA, host, "router", router_simulator.url)


@pytest.fixture
async def single(host: Host, single_simulator: Any) -> Endpoint:
    return await add_endpoint(ADA, host, "single", single_simulator.url)
