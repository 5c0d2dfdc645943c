"""The watcher looks at all endpoints, whatever some of them do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.test import override_settings

from models_app.catalog.models import Installation
from models_app.inventory.endpoints import update_endpoint
from models_app.inventory.models import Endpoint, LoadedModel
from models_app.inventory.watch import Watcher
from models_app.simulation.faults import Fault
from tests.inventory.conftest import ADA


@pytest.fixture
async def watcher() -> AsyncIterator[Watcher]:
    watcher = Watcher()
    yield watcher
    await watcher.aclose()


async def looked(watcher: Watcher) -> None:
    await watcher.tick()
    await watcher.settled()


async def test_the_first_tick_reads_what_is_loaded_and_installed(
    watcher: Watcher, ollama: Endpoint, ollama_simulator: Any
) -> None:
    await ollama_simulator.server.preload("llama3.1:8b")
    await looked(watcher)
    assert await LoadedModel.objects.filter(endpoint=ollama).acount() == 1
    assert await Installation.objects.filter(endpoint=ollama).acount() == 5


async def test_what_is_installed_is_not_read_at_every_tick(
    watcher: Watcher, ollama: Endpoint, ollama_simulator: Any
) -> None:
    await looked(watcher)
    before = ollama_simulator.server.requests.count(("GET", "/api/tags"))
    await looked(watcher)
    assert ollama_simulator.server.requests.count(("GET", "/api/tags")) == before


async def test_a_server_that_hangs_delays_no_other(
    watcher: Watcher, ollama: Endpoint, ollama_simulator: Any, router: Endpoint, router_simulator: Any
) -> None:
    ollama_simulator.server.faults.add(Fault.HANG, path="/api/ps")
    await watcher.tick()
    for name in ("bge-m3-f16", "llama-3.1-8b-instruct-q8_0"):
        await router_simulator.server.preload(name)
        while not await LoadedModel.objects.filter(endpoint=router, name=name).aexists():
            await watcher.tick()
    assert ollama_simulator.server.requests.count(("GET", "/api/ps")) == 1


async def test_an_endpoint_that_came_back_is_read_again(watcher: Watcher, ollama: Endpoint, ollama_simulator: Any) -> None:
    await looked(watcher)
    await ollama_simulator.serving.close()
    await looked(watcher)
    await ollama.arefresh_from_db()
    assert ollama.state == Endpoint.State.UNREACHABLE
    ollama_simulator.server.version = "0.34.0"
    await ollama_simulator.serving.open()
    await looked(watcher)
    await ollama.arefresh_from_db()
    assert (ollama.state, ollama.version) == (Endpoint.State.ONLINE, "0.34.0")


async def test_a_new_address_takes_effect_at_the_next_tick(
    watcher: Watcher, ollama: Endpoint, router_simulator: Any
) -> None:
    await looked(watcher)
    await update_endpoint(ADA, ollama, url=router_simulator.url)
    await looked(watcher)
    assert ("GET", "/models") in router_simulator.server.requests
    assert await Installation.objects.filter(endpoint=ollama).acount() == 4


async def test_a_removed_endpoint_is_left_alone(watcher: Watcher, ollama: Endpoint, ollama_simulator: Any) -> None:
    await looked(watcher)
    await ollama.adelete()
    asked = len(ollama_simulator.server.requests)
    await looked(watcher)
    assert len(ollama_simulator.server.requests) == asked


async def test_one_that_cannot_be_made_sense_of_keeps_nobody_from_the_others(
    watcher: Watcher, ollama: Endpoint, router: Endpoint
) -> None:
    await Endpoint.objects.filter(pk=ollama.pk).aupdate(mode="unheard of")
    await Endpoint.objects.filter(pk=router.pk).aupdate(state=Endpoint.State.UNKNOWN)
    await looked(watcher)
    await router.arefresh_from_db()
    assert router.state == Endpoint.State.ONLINE


async def test_one_whose_address_is_no_longer_allowed_says_so(watcher: Watcher, ollama: Endpoint) -> None:
    with override_settings(ENDPOINT_PORTS=((443, 443),)):
        await looked(watcher)
    await ollama.arefresh_from_db()
    assert (ollama.state, ollama.state_code) == (Endpoint.State.UNREACHABLE, "address_refused")


async def test_closing_leaves_nothing_running(ollama: Endpoint, ollama_simulator: Any) -> None:
    ollama_simulator.server.faults.add(Fault.HANG)
    watcher = Watcher()
    await watcher.tick()
    await watcher.aclose()
    await asyncio.wait_for(watcher.settled(), 1)


async def test_monitoring_wakes_no_model(watcher: Watcher, router: Endpoint, router_simulator: Any) -> None:
    await looked(watcher)
    await looked(watcher)
    assert router_simulator.server.wakes == []
    assert router_simulator.server.loaded == []
