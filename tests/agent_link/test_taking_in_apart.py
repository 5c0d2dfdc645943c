"""With many lines, what agents report is taken in by a process beside the one that holds their sockets.

Here it runs on the test's own loop, at the other end of the same wire. ``tests/real`` has a panel with the real one.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from asgiref.sync import sync_to_async

from models_app import live
from models_app.agent.messages import Announce, CloseCode, Committed, LocalEndpoint, Observed, Samples
from models_app.agent_link import apart, switchboard
from models_app.agent_link.door import watch
from models_app.agent_link.models import Agent
from models_app.agent_link.recording import Recording
from models_app.agent_link.words import Happened
from models_app.backends.protocol import ModelState, Observation, ResidentModel
from models_app.inventory.models import Endpoint, LoadedModel
from models_app.inventory.routes import agent_url
from models_app.telemetry import fresh
from models_app.telemetry.models import LatestSample
from tests.agent_link.test_agents_over_a_socket import RawAgent, raw_agent, remembered, sample
from tests.fixtures.agents import PanelSocket, until
from tests.telemetry.test_showing_before_writing import Looking

GIB = 1024**3


class Beside:
    """Stands for the processes that were started."""

    def __init__(self) -> None:
        self.started: list[asyncio.Task[None]] = []
        self.begin: Callable[[str], None] = lambda work: pytest.fail(f"{work} was not asked for")

    def spawn(self, end: socket.socket) -> subprocess.Popen[bytes]:
        self.started.append(asyncio.ensure_future(Recording(end.dup(), self.begin).serve()))
        return cast("subprocess.Popen[bytes]", self)

    def wait(self, _: float) -> None:
        """It ends with its socket."""

    def die(self) -> None:
        self.started[-1].cancel()


@pytest.fixture
async def process_beside(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Beside]:
    """No line is taken in by the switchboard's own process as long as there is another."""
    processes = Beside()
    monkeypatch.setattr(switchboard, "LINES_HERE", 0)
    monkeypatch.setattr(apart, "spawn", processes.spawn)
    yield processes
    for each in processes.started:
        each.cancel()
    await asyncio.gather(*processes.started, return_exceptions=True)


async def looked_at(agent: RawAgent) -> None:
    """Somebody looks at its host, and it has been told to send at once."""
    await sync_to_async(watch)(agent.host.pk)
    while (await agent.heard(Committed)).gather_seconds:
        pass


async def test_samples_are_stored_there_and_confirmed_here(
    panel_socket: PanelSocket, tmp_path: Path, process_beside: Beside
) -> None:
    async with raw_agent(panel_socket, tmp_path) as agent:
        await agent.say(Samples((sample(1), sample(2))))
        while (await agent.heard(Committed)).sequence < 2:
            pass
        assert sorted(await sync_to_async(remembered)(agent.host)) == [1, 2]
        assert (await Agent.objects.aget()).committed == 2
        assert (await LatestSample.objects.aget()).sequence == 2
    assert len(process_beside.started) == 1


@pytest.mark.usefixtures("process_beside")
async def test_what_an_endpoint_has_in_memory_is_recorded(panel_socket: PanelSocket, tmp_path: Path) -> None:
    async with raw_agent(panel_socket, tmp_path) as agent:
        url = agent_url(agent.host.pk, "llama")
        await agent.say(Announce((LocalEndpoint("llama", "ollama"),)))
        await until(Endpoint.objects.filter(url=url).exists, "its row")
        held = ResidentModel("qwen", ModelState.LOADED, size_bytes=GIB)
        await agent.say(Observed("llama", observation=Observation((held,))))
        await until(LoadedModel.objects.filter(endpoint__url=url, name="qwen").exists, "the model")
        assert await Endpoint.objects.filter(url=url, state=Endpoint.State.ONLINE).aexists()


@pytest.mark.usefixtures("process_beside")
async def test_who_looks_sees_a_sample_before_it_is_taken_in(
    panel_socket: PanelSocket, tmp_path: Path, goes_on: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switchboard, "MANY", 0)
    now = datetime.now(UTC)
    async with raw_agent(panel_socket, tmp_path) as agent:
        await agent.say(Samples((sample(1, now - timedelta(seconds=2)),)))
        await until(LatestSample.objects.filter(sequence=1).exists, "a first sample")
        looking = Looking(agent.host.pk)
        fresh.listen(looking)
        try:
            await looked_at(agent)
            await agent.say(Samples((sample(2, now - timedelta(seconds=1)),)))
            await agent.say(Samples((sample(3, uuid="GPU-of-another"),)), Samples((sample(4, now),)))
            await until(lambda: looking.sequences == [2, 4], "the samples of its own GPU")
            assert (await LatestSample.objects.aget()).sequence == 1
            assert [newest.recent["GPU-a"] for newest in looking.told] == [[1, 2], [1, 2, 4]]
        finally:
            fresh.unlisten(looking)
            goes_on.set()


@pytest.mark.usefixtures("process_beside")
async def test_when_an_endpoint_has_changed_the_rows_of_its_host_are_read_again(
    panel_socket: PanelSocket, tmp_path: Path
) -> None:
    async with raw_agent(panel_socket, tmp_path) as agent:
        await agent.say(Announce((LocalEndpoint("llama", "ollama"),)))
        endpoint = await until(Endpoint.objects.filter(url=agent_url(agent.host.pk, "llama")).first, "its row")
        await agent.say(Samples((sample(1),)))
        await until(LatestSample.objects.filter(sequence=1).exists, "a first sample")
        looking = Looking(agent.host.pk)
        fresh.listen(looking)
        try:
            await looked_at(agent)
            await agent.say(Samples((sample(2),)))
            await until(lambda: looking.sequences == [2], "the sample")
        finally:
            fresh.unlisten(looking)
        memory = next(iter(switchboard.switchboard().lines.values())).memory
        assert [row.pk for row in memory.endpoints] == [endpoint.pk]
        await sync_to_async(live.publish)(live.Topic.INVENTORY, endpoint.pk + 1)
        assert memory.rows_until
        await sync_to_async(live.publish)(live.Topic.INVENTORY, endpoint.pk)
        await until(lambda: memory.rows_until == 0.0, "that its rows are old")


@pytest.mark.usefixtures("process_beside")
async def test_what_cannot_be_understood_closes_the_line(panel_socket: PanelSocket, tmp_path: Path) -> None:
    async with raw_agent(panel_socket, tmp_path) as agent:
        await agent.say('["Samples",{"items":[{"sequence":"one"}]}]')
        assert await agent.end() == CloseCode.MALFORMED


async def test_when_the_process_dies_its_agents_come_again_and_are_taken_in_here(
    panel_socket: PanelSocket, tmp_path: Path, process_beside: Beside
) -> None:
    async with raw_agent(panel_socket, tmp_path) as agent:
        process_beside.die()
        assert await agent.end() == CloseCode.RESTARTED
    async with raw_agent(panel_socket, tmp_path, known=True) as agent:
        await agent.say(Samples((sample(1),)))
        await until(LatestSample.objects.filter(sequence=1).exists, "its sample")
    assert len(process_beside.started) == 1


async def test_its_events_are_heard_by_who_listens_here() -> None:
    heard: list[live.Event] = []
    live.listen(heard.append)
    try:
        await switchboard.Switchboard()._hear_apart(Happened("inventory", 7, 8))
        await asyncio.sleep(0)
        assert heard == [live.Event(live.Topic.INVENTORY, 7, 8)]
    finally:
        live.unlisten(heard.append)
