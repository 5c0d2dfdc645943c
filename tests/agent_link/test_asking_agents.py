"""What is asked of an agent is done once, heard of in the end, and never believed to be done when it is not known."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.utils import timezone

from models_app.agent_link import absence, commands, waiting
from models_app.agent_link.models import Agent, AgentCommand
from models_app.backends.errors import Unreachable
from models_app.backends.protocol import Backend, LoadOptions
from models_app.inventory.connect import backend_for
from models_app.inventory.models import Endpoint
from models_app.probes.types import HostSample
from models_app.simulation.faults import Fault
from models_app.telemetry.sources import sample_now, sample_now_async
from tests.factories import EndpointFactory, HostFactory
from tests.fixtures.agents import PanelSocket, RunningAgent, StartAgent, until

State = AgentCommand.State
MODEL = "qwen2.5-coder:14b"


@pytest.fixture
async def running(start_agent: StartAgent, ollama_simulator: Any) -> RunningAgent:
    """An agent with an Ollama behind it."""
    return await start_agent(ollama_simulator.host, ollama=ollama_simulator.url)


@pytest.fixture
async def backend(running: RunningAgent) -> AsyncIterator[Backend]:
    """That Ollama, as the panel reaches it."""
    rows = Endpoint.objects.filter(host=running.host).select_related("host")
    endpoint = await until(rows.first, "the endpoint to be announced")
    return await sync_to_async(backend_for)(endpoint)


@pytest.fixture
async def loads_go_on(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Loads come half-way and wait for it: one of 20 ms may have ended before anybody sees that it has begun."""
    goes_on = asyncio.Event()
    monkeypatch.setattr("models_app.simulation.runner._misbehave_half_way", lambda _faults: goes_on.wait())
    return goes_on


async def begun(backend: Backend) -> tuple[asyncio.Task[None], AgentCommand]:
    """A load that the agent works on."""

    async def load() -> None:
        async with aclosing(backend.load(MODEL, LoadOptions())) as steps:
            async for _ in steps:
                pass

    task = asyncio.create_task(load())
    row = await until(AgentCommand.objects.filter(call="load", state=State.SENT).exclude(progress={}).first, "the load")
    return task, row


async def ended(row: AgentCommand) -> AgentCommand:
    found: AgentCommand = await until(
        AgentCommand.objects.filter(pk=row.pk).exclude(state__in=AgentCommand.OPEN).first, "the end of a command"
    )
    return found


async def test_a_fresh_sample_is_newer_than_the_question(running: RunningAgent) -> None:
    before = timezone.now()
    sample = await sample_now_async(running.host)
    assert isinstance(sample, HostSample)
    assert before <= sample.taken_at <= timezone.now()
    assert sample.gpus


async def test_a_load_that_is_abandoned_while_it_is_asked_for_is_stopped(
    backend: Backend, ollama_simulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ollama_simulator.server.faults.add(Fault.STALL_LOAD)
    ask, loop, is_asked, may_go_on = commands.ask, asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def slow_ask(*arguments: Any) -> AgentCommand:
        if "load" in arguments:  # others ask, too: what is installed, what is in memory
            loop.call_soon_threadsafe(is_asked.set)
            may_go_on.wait()
        return ask(*arguments)

    monkeypatch.setattr(commands, "ask", slow_ask)
    steps = backend.load(MODEL, LoadOptions())
    task = asyncio.ensure_future(anext(steps))
    await is_asked.wait()
    task.cancel()
    loop.call_later(0.05, may_go_on.set)
    await asyncio.gather(task, return_exceptions=True)
    row = await until(AgentCommand.objects.filter(call="load").first, "the load")
    assert (await ended(row)).state == State.CANCELLED


async def test_a_load_that_is_abandoned_stops_at_the_endpoint(backend: Backend, ollama_simulator: Any) -> None:
    ollama_simulator.server.faults.add(Fault.STALL_LOAD)
    task, row = await begun(backend)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await ended(row)).state == State.CANCELLED
    assert ollama_simulator.host.sample().gpus[0].processes == ()


async def test_a_socket_that_breaks_for_a_moment_costs_nothing(
    backend: Backend, panel_socket: PanelSocket, loads_go_on: asyncio.Event
) -> None:
    task, row = await begun(backend)
    await panel_socket.close()
    await panel_socket.open()
    loads_go_on.set()
    await task
    assert (await ended(row)).state == State.SUCCEEDED
    assert (await backend.observe()).find(MODEL) is not None
    assert await sync_to_async(AgentCommand.objects.filter(call="load").count)() == 1


async def test_an_agent_that_was_restarted_meanwhile_has_lost_what_it_did(
    backend: Backend, running: RunningAgent, start_agent: StartAgent, ollama_simulator: Any, monkeypatch: Any, tmp_path: Any
) -> None:
    ollama_simulator.server.faults.add(Fault.STALL_LOAD)
    task, row = await begun(backend)
    await running.stop()
    monkeypatch.setattr("models_app.agent.program.boot_id", lambda: "another-boot")
    await start_agent(ollama_simulator.host, secret_file=tmp_path / "gpu-1.json", ollama=ollama_simulator.url)
    with pytest.raises(Unreachable, match="restarted"):
        await task
    assert (await ended(row)).state == State.LOST


async def test_an_agent_that_stays_away_is_given_up(
    backend: Backend, running: RunningAgent, ollama_simulator: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(waiting, "LOST_AFTER", timedelta(seconds=0.5))
    ollama_simulator.server.faults.add(Fault.STALL_LOAD)
    task, row = await begun(backend)
    await running.stop()
    with pytest.raises(Unreachable, match="not known"):
        await task
    assert (await ended(row)).state == State.LOST


async def test_what_was_given_up_is_stopped_when_the_agent_returns(
    backend: Backend, running: RunningAgent, panel_socket: PanelSocket, ollama_simulator: Any
) -> None:
    ollama_simulator.server.faults.add(Fault.STALL_LOAD)
    task, row = await begun(backend)
    await sync_to_async(commands.lose)(AgentCommand.objects.filter(pk=row.pk), waiting._LOST)
    await panel_socket.close()
    with pytest.raises(Unreachable):
        await task
    await panel_socket.open()
    await until(lambda: not running.agent.desk.running(), "the agent to stop it")
    assert ollama_simulator.host.sample().gpus[0].processes == ()


async def test_a_command_is_done_once_however_often_it_is_sent(
    backend: Backend, ollama_simulator: Any, loads_go_on: asyncio.Event
) -> None:
    task, row = await begun(backend)
    await sync_to_async(AgentCommand.objects.filter(pk=row.pk).update)(state=State.QUEUED)
    loads_go_on.set()
    await task
    assert (await ended(row)).state == State.SUCCEEDED
    assert len(ollama_simulator.host.sample().gpus[0].processes) == 1


@pytest.mark.django_db(transaction=True)
def test_a_host_whose_agent_never_came_is_not_waited_for() -> None:
    host = HostFactory()
    Agent.objects.create(host=host, key_id="k")
    sample = sample_now(host)
    assert sample is not None
    assert sample.gpus == ()
    assert "is away" in sample.nvml_problem


@pytest.mark.django_db
def test_endpoints_behind_a_silent_agent_are_told_unreachable() -> None:
    long_ago = timezone.now() - timedelta(minutes=5)
    silent, heard = EndpointFactory(url="agent://1/ollama"), EndpointFactory(url="agent://2/ollama")
    Agent.objects.create(host=silent.host, key_id="a", last_seen_at=long_ago)
    Agent.objects.create(host=heard.host, key_id="b", last_seen_at=timezone.now())
    absence.tick()
    silent.refresh_from_db()
    heard.refresh_from_db()
    assert (silent.state, heard.state) == ("unreachable", "online")
    assert "away since" in silent.state_message


@pytest.mark.django_db
def test_old_commands_are_deleted_and_overdue_ones_ended() -> None:
    agent = Agent.objects.create(host=HostFactory(), key_id="a")
    now = timezone.now()

    def command(call: str, state: str, minutes: float) -> AgentCommand:
        past = now - timedelta(minutes=minutes)
        ends = None if state in AgentCommand.OPEN else past
        return AgentCommand.objects.create(agent=agent, call=call, state=state, deadline_at=past, finished_at=ends)

    kept = [command("load", "succeeded", 30), command("observe", "succeeded", 0.5)]
    for old in (("load", "succeeded", 90), ("observe", "succeeded", 3)):
        command(*old)
    overdue = command("load", "sent", 5)
    commands.tidy()
    assert set(AgentCommand.objects.values_list("pk", flat=True)) == {row.pk for row in [*kept, overdue]}
    overdue.refresh_from_db()
    assert overdue.state == State.LOST


@pytest.mark.django_db
def test_one_that_was_not_sent_yet_is_cancelled_at_once() -> None:
    agent = Agent.objects.create(host=HostFactory(), key_id="a")
    row = AgentCommand.objects.create(agent=agent, call="load", deadline_at=timezone.now() + timedelta(minutes=1))
    commands.request_cancel(row.pk)
    row.refresh_from_db()
    assert row.state == State.CANCELLED
    assert commands.take_due({agent.pk: "boot"}) == []


@pytest.mark.django_db
def test_a_cancel_in_the_moment_in_which_the_agent_connects_anew_is_not_lost() -> None:
    """The agent never heard of the command, which is queued again between two statements of the cancel."""
    agent = Agent.objects.create(host=HostFactory(), key_id="a", boot_id="boot")
    deadline = timezone.now() + timedelta(minutes=1)
    row = AgentCommand.objects.create(agent=agent, call="load", state=State.SENT, boot_id="boot", deadline_at=deadline)
    statements = 0

    def then_it_connects(execute: Any, *statement: Any) -> Any:
        nonlocal statements
        statements += 1
        result = execute(*statement)
        if statements == 1:
            commands.settle_after_greeting(agent, [])
        return result

    with connection.execute_wrapper(then_it_connects):
        commands.request_cancel(row.pk)
    row.refresh_from_db()
    assert row.state == State.CANCELLED or commands.to_cancel([agent.pk]) == [(agent.pk, row.pk)]
