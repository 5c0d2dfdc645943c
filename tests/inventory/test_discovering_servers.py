"""Servers of the panel's own host are found once, and not again when an admin has removed them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.models import AuditEntry
from models_app.inventory.discovery import A_MOMENT, discover, forget_passing
from models_app.inventory.endpoints import add_endpoint, remove_endpoint
from models_app.inventory.hosts import ensure_local_host
from models_app.inventory.models import Endpoint, Host
from models_app.probes.listeners import find_listeners
from models_app.simulation.faults import Fault
from tests.factories import EndpointFactory, InstallationFactory, OperationFactory
from tests.inventory.conftest import ADA

Listening = Callable[..., None]


@pytest.fixture
async def here(transactional_db: None) -> Host:
    return await sync_to_async(ensure_local_host)()


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Listening:
    """Makes the ports of these simulated servers the well-known ones, and hides other servers of this machine."""

    def listen(*simulators: Any) -> None:
        ports = tuple(simulator.serving.port for simulator in simulators)
        monkeypatch.setattr(
            "models_app.inventory.discovery.find_listeners",
            lambda: tuple(listener for listener in find_listeners(ports) if listener.port in ports),
        )

    return listen


async def test_an_ollama_and_llama_servers_are_found_and_named(
    here: Host, listening: Listening, ollama_simulator: Any, router_simulator: Any, single_simulator: Any
) -> None:
    listening(ollama_simulator, router_simulator, single_simulator)
    found = {endpoint.mode: endpoint for endpoint in await discover(here)}
    assert found.keys() == {"ollama", "router", "single"}
    assert all(endpoint.discovered and endpoint.host_id == here.pk for endpoint in found.values())
    assert found["router"].name == f"llama-server :{router_simulator.serving.port}"


async def test_nothing_is_found_twice(here: Host, listening: Listening, ollama_simulator: Any) -> None:
    listening(ollama_simulator)
    await add_endpoint(ADA, here, "mine", f"http://localhost:{ollama_simulator.serving.port}")
    assert await discover(here) == []
    assert await Endpoint.objects.acount() == 1


async def test_what_an_admin_removed_is_not_added_again(here: Host, listening: Listening, ollama_simulator: Any) -> None:
    listening(ollama_simulator)
    [endpoint] = await discover(here)
    await sync_to_async(remove_endpoint)(ADA, endpoint, guard=lambda _: "")
    assert await discover(here) == []
    await add_endpoint(ADA, here, "after all", ollama_simulator.url)
    await here.arefresh_from_db()
    assert here.dismissed_ports == []


async def test_another_program_on_a_well_known_port_is_passed_over(
    here: Host, listening: Listening, ollama_simulator: Any, router_simulator: Any
) -> None:
    listening(ollama_simulator, router_simulator)
    ollama_simulator.server.faults.add(Fault.GARBAGE)
    assert [endpoint.mode for endpoint in await discover(here)] == ["router"]


# ── there for a moment only ──────────────────────────────────────────────────


def passer_by(host: Host, there_for: timedelta = timedelta(minutes=3), gone_seconds: int = 120) -> Endpoint:
    """A server that was found, was there for a while, and does not answer any more."""
    seen = timezone.now() - timedelta(seconds=gone_seconds)
    endpoint: Endpoint = EndpointFactory(host=host, discovered=True, state="unreachable", last_seen_at=seen)
    InstallationFactory(endpoint=endpoint)
    Endpoint.objects.filter(pk=endpoint.pk).update(created_at=seen - there_for)
    return endpoint


@pytest.fixture
def local(db: None) -> Host:
    return ensure_local_host()


def test_a_server_that_was_there_for_a_moment_is_forgotten_and_may_be_found_again(local: Host) -> None:
    endpoint = passer_by(local)
    forget_passing(local)
    assert not Endpoint.objects.exists()
    entry = AuditEntry.objects.get(action="endpoint.forget")
    assert (entry.actor_name, entry.object_name) == ("Berth", endpoint.name)
    local.refresh_from_db()
    assert local.dismissed_ports == []


def test_one_that_served_for_longer_or_may_come_back_at_once_is_not(local: Host) -> None:
    passer_by(local, there_for=A_MOMENT + timedelta(minutes=1))
    passer_by(local, gone_seconds=20)
    forget_passing(local)
    assert Endpoint.objects.count() == 2


def test_one_that_somebody_used_or_changed_is_not(local: Host) -> None:
    OperationFactory(endpoint=passer_by(local))
    audit.record(ADA, "endpoint.update", passer_by(local))
    forget_passing(local)
    assert Endpoint.objects.count() == 2
