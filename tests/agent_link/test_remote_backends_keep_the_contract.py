"""A backend behind an agent keeps the same contract as one that is called directly: the very same tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from asgiref.sync import sync_to_async

from models_app.backends.protocol import Backend
from models_app.inventory.connect import backend_for as backend_of
from models_app.inventory.models import Endpoint as EndpointRow
from tests.backends.test_every_backend_keeps_the_contract import *  # noqa: F403
from tests.backends.test_every_backend_keeps_the_contract import Endpoint, until_gone
from tests.fixtures.agents import StartAgent, until

del test_an_address_is_enough_to_find_out_what_listens  # noqa: F821 - has no backend
del test_insisting_on_the_wrong_program_is_explained  # noqa: F821


@pytest.fixture
async def backend(endpoint: Endpoint, start_agent: StartAgent, simulated_host) -> AsyncIterator[Backend]:
    """The endpoint's backend through the agent on its host; what it loaded is unloaded at the end."""
    name = endpoint.kind.value.replace("_", "-")
    running = await start_agent(simulated_host, **{name: endpoint.url})
    rows = EndpointRow.objects.filter(host=running.host).select_related("host")
    row = await until(rows.first, "the endpoint to be announced")
    backend = await sync_to_async(backend_of)(row)
    yield backend
    if endpoint.mode != "single":
        for model in filter(None, (endpoint.model, endpoint.embedding_model)):
            await backend.unload(model)
            await until_gone(backend, model)
