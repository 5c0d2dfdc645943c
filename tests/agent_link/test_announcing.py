"""What an agent may make the panel keep by announcing it."""

from __future__ import annotations

import logging

import pytest

from models_app.agent.messages import MOST_ENDPOINTS, Announce, LocalEndpoint
from models_app.agent_link.reports import announced
from models_app.inventory.models import Endpoint
from tests.factories import HostFactory


@pytest.mark.django_db
def test_new_names_without_end_are_refused_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    host = HostFactory(name="atlas")
    with caplog.at_level(logging.WARNING, "models_app.agent_link.reports"):
        for turn in range(3):
            names = (f"{turn}-{number}" for number in range(MOST_ENDPOINTS - 1))
            announced(host, Announce(tuple(LocalEndpoint(name, "ollama") for name in names)))
    assert Endpoint.objects.filter(host=host).count() == MOST_ENDPOINTS
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [f"atlas has {MOST_ENDPOINTS} endpoints"]
