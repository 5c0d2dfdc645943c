"""Agents and the panel over a real socket: reports, silence, revocation, and agents that mean harm."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from asgiref.sync import sync_to_async
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from models_app.accounts.roles import PANEL
from models_app.agent import credentials, proofs
from models_app.agent.clock import SystemClock
from models_app.agent.messages import (
    Announce,
    Challenge,
    CloseCode,
    Committed,
    Done,
    Hello,
    LocalEndpoint,
    Observed,
    Part,
    Samples,
    pack,
    unpack,
)
from models_app.agent.session import AgentSession, Identity, State
from models_app.agent_link import line, reports, switchboard
from models_app.agent_link.door import watch
from models_app.agent_link.enrolment import revoke
from models_app.agent_link.models import Agent, AgentCommand
from models_app.agent_link.reports import bring_back
from models_app.backends.protocol import Observation
from models_app.inventory.endpoints import remove_endpoint
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.models import Endpoint, Gpu, Host
from models_app.probes.types import GpuDetail, GpuSample, HostSample
from models_app.simulation.hardware import SimulatedHost
from models_app.telemetry import samples
from models_app.telemetry.history.recorder import recorder
from models_app.telemetry.history.store import seconds_of
from models_app.telemetry.models import LatestSample
from tests.factories import GpuFactory, HostFactory
from tests.fixtures.agents import PanelSocket, RunningAgent, StartAgent, enrolled, until

GIB = 1024**3
BOOT = "boot-1"


@dataclass
class RawAgent:
    """An agent that was let in, and then says whatever the test wants."""

    host: Host
    session: AgentSession
    socket: ClientConnection

    async def say(self, *messages: Any) -> None:
        for message in messages:
            await self.socket.send(message if isinstance(message, str) else pack(message))

    async def heard(self, kind: type[Any]) -> Any:
        """The panel's next message, which is of this kind."""
        return unpack(await self.socket.recv(), kind)

    async def end(self) -> int | None:
        """Wait for the panel to hang up; the code that it gave."""
        try:
            while True:
                await self.socket.recv()
        except ConnectionClosed:
            return self.socket.close_code


@asynccontextmanager
async def raw_agent(
    panel: PanelSocket, folder: Path, name: str = "gpu-1", boot: str = BOOT, *, known: bool = False
) -> AsyncIterator[RawAgent]:
    """Enrol (or use again) the agent of a host, and be let in."""
    path = folder / f"{name}.json"
    host = await sync_to_async(lambda: Host.objects.filter(name=name).first() or HostFactory(name=name))()
    if not known:
        await sync_to_async(enrolled)(host, path)
    session = AgentSession(credentials.load(path), Identity(boot), SystemClock())
    async with connect(panel.url, compression=None) as socket:
        session.begin()
        while session.state is not State.OPEN:
            session.receive(await socket.recv())
            for text in session.outgoing():
                await socket.send(text)
        credentials.save(path, session.credentials)
        yield RawAgent(host, session, socket)


def sample(sequence: int, taken_at: datetime | None = None, uuid: str = "GPU-a") -> HostSample:
    gpu = GpuSample(uuid, 0, "NVIDIA H100", total_bytes=80 * GIB, used_bytes=sequence, free_bytes=79 * GIB, processes=())
    return HostSample(BOOT, sequence, taken_at or datetime.now(UTC), (gpu,))


def remembered(host: Host) -> list[float]:
    """The used bytes of the host's only GPU, sample by sample, as the history has them."""
    recorder.flush()
    gpu = Gpu.objects.filter(host=host).first()
    return list(seconds_of(gpu.pk, 0, 1e11).columns.get("used", [])) if gpu else []


# ── honest agents ────────────────────────────────────────────────────────────


async def test_what_an_agent_sees_is_on_the_panel_a_moment_later(
    start_agent: StartAgent, simulated_host: SimulatedHost
) -> None:
    running = await start_agent(simulated_host)
    newest = await until(lambda: LatestSample.objects.filter(host=running.host).first(), "a sample")
    assert samples.unpack(bytes(newest.payload))[0].gpus[0].total_bytes == 24 * GIB
    assert await sync_to_async(Gpu.objects.filter(host=running.host, present=True).count)() == 1


async def test_samples_are_forgotten_only_once_they_are_stored(
    start_agent: StartAgent, simulated_host: SimulatedHost
) -> None:
    running = await start_agent(simulated_host)
    agents = Agent.objects.filter(host=running.host, committed__gt=0)
    agent = await until(agents.first, "samples to be stored")
    assert len(await sync_to_async(remembered)(running.host)) >= agent.committed


async def test_the_panel_returns_and_the_samples_of_its_absence_with_it(panel_socket: PanelSocket, tmp_path: Path) -> None:
    async with raw_agent(panel_socket, tmp_path) as agent:
        await agent.say(Samples(tuple(sample(number) for number in range(1, 4))))
        await until(lambda: 3 in remembered(agent.host), "three samples")
    await panel_socket.close()
    absence = [sample(number, datetime.now(UTC) - timedelta(seconds=604 - number)) for number in range(4, 604)]
    await panel_socket.open()
    async with raw_agent(panel_socket, tmp_path, known=True) as agent:
        for start in range(0, 600, 50):
            await agent.say(Samples(tuple(absence[start : start + 50])))
        await until(lambda: 603 in remembered(agent.host), "the last sample")
        assert sorted(await sync_to_async(remembered)(agent.host)) == list(range(1, 604))


async def test_details_that_are_not_repeated_are_kept(panel_socket: PanelSocket, tmp_path: Path) -> None:
    detail, first = GpuDetail(graphics_clock_mhz=1980), sample(1)
    async with raw_agent(panel_socket, tmp_path) as agent:
        whole = replace(first, gpus=(replace(first.gpus[0], detail=detail),))
        await agent.say(Samples((whole, sample(2))))
        newest = await until(LatestSample.objects.filter(host=agent.host, sequence=2).first, "the second sample")
    assert samples.unpack(bytes(newest.payload))[0].gpus[0].detail == detail


async def test_agents_of_many_hosts_gather_their_samples_unless_somebody_looks(
    panel_socket: PanelSocket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switchboard, "MANY", 0)
    async with raw_agent(panel_socket, tmp_path) as agent:
        assert await agent.heard(Committed) == Committed(0, ANY, switchboard.GATHER_SECONDS)
        await agent.say(Samples((sample(1),)))
        assert await agent.heard(Committed) == Committed(1, ANY, switchboard.GATHER_SECONDS)
        await sync_to_async(watch)(agent.host.pk)
        assert await agent.heard(Committed) == Committed(1, ANY, 0.0)
        await agent.say(Samples((sample(2),)))
        assert await agent.heard(Committed) == Committed(2, ANY, 0.0)


async def test_a_sample_that_comes_twice_is_stored_once(panel_socket: PanelSocket, tmp_path: Path) -> None:
    same = [sample(number) for number in (1, 2, 3)]
    for known in (False, True):
        async with raw_agent(panel_socket, tmp_path, known=known) as agent:
            await agent.say(Samples(tuple(same)), Samples(tuple(same)))
            await until(lambda: 3 in remembered(agent.host), "three samples")
            assert sorted(await sync_to_async(remembered)(agent.host)) == [1, 2, 3]
            await sync_to_async(Agent.objects.update)(committed=0)


async def test_an_agent_that_connects_again_takes_the_place_of_its_old_socket(
    panel_socket: PanelSocket, tmp_path: Path
) -> None:
    async with raw_agent(panel_socket, tmp_path) as old, raw_agent(panel_socket, tmp_path, known=True) as new:
        assert await old.end() == CloseCode.REPLACED
        await new.say(Samples((sample(1),)))
        await until(LatestSample.objects.exists, "a sample by the new socket")


async def test_a_socket_that_closes_is_known_at_once(start_agent: StartAgent, simulated_host: SimulatedHost) -> None:
    running = await start_agent(simulated_host)
    assert (await sync_to_async(Agent.objects.get)(host=running.host)).connection
    await running.stop()
    await until(lambda: not Agent.objects.get(host=running.host).connection, "the agent to be away")


async def test_a_wrong_clock_is_told(panel_socket: PanelSocket, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(SystemClock, "now", lambda _: datetime.now(UTC) + timedelta(minutes=42))
    async with raw_agent(panel_socket, tmp_path) as agent:
        row = await sync_to_async(Agent.objects.get)(host=agent.host)
    assert row.is_skewed
    assert row.clock_skew_seconds == pytest.approx(42 * 60, abs=30)


async def test_the_endpoints_that_it_offers_become_rows(panel_socket: PanelSocket, tmp_path: Path) -> None:
    async with raw_agent(panel_socket, tmp_path) as agent:
        await agent.say(Announce((LocalEndpoint("ollama", "ollama"),)))
        row = await until(Endpoint.objects.filter(host=agent.host).first, "the endpoint")
        assert (row.name, row.url, row.kind) == ("ollama on gpu-1", f"agent://{agent.host.pk}/ollama", "ollama")
        await agent.say(Observed("ollama", observation=Observation()))
        await until(lambda: Endpoint.objects.get(pk=row.pk).state == "online", "the first look")
        await agent.say(Announce(()))
        gone = await until(lambda: Endpoint.objects.filter(pk=row.pk, state="unreachable").first(), "its end")
    assert "no longer offers it" in gone.state_message


# ── strangers ────────────────────────────────────────────────────────────────


async def test_samples_do_not_wait_for_what_the_agent_said_before_to_be_written(
    panel_socket: PanelSocket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, announced = threading.Event(), reports.announced

    def held_up(*arguments: Any) -> None:
        assert goes_on.wait(10)
        announced(*arguments)

    monkeypatch.setattr(reports, "announced", held_up)
    async with raw_agent(panel_socket, tmp_path) as agent:
        await agent.say(Announce((LocalEndpoint("ollama", "ollama"),)), Samples((sample(1),)))
        await until(LatestSample.objects.filter(sequence=1).exists, "the sample")
        assert not await Endpoint.objects.aexists()
        goes_on.set()
        await until(Endpoint.objects.filter(host=agent.host).exists, "the endpoint")


async def test_an_endpoint_that_was_removed_stays_away_until_it_is_brought_back(
    panel_socket: PanelSocket, tmp_path: Path
) -> None:
    offered = Announce((LocalEndpoint("ollama", "ollama"), LocalEndpoint("other", "ollama")))
    async with raw_agent(panel_socket, tmp_path) as agent:
        await agent.say(offered)
        row = await until(Endpoint.objects.filter(name="ollama on gpu-1").first, "its endpoint")
        await sync_to_async(remove_endpoint)(PANEL, row, guard=lambda _: None)
        await sync_to_async(Endpoint.objects.filter(name="other on gpu-1").delete)()
        await agent.say(offered)
        await until(Endpoint.objects.filter(name="other on gpu-1").exists, "the other one, again")
    assert not await Endpoint.objects.filter(name="ollama on gpu-1").aexists()
    back = await sync_to_async(bring_back)(PANEL, agent.host, "ollama")
    assert (back.kind, back.url) == ("ollama", row.url)
    with pytest.raises(InventoryRefused):
        await sync_to_async(bring_back)(PANEL, agent.host, "ollama")


async def test_a_browser_is_turned_away_at_the_door(panel_socket: PanelSocket) -> None:
    with pytest.raises(InvalidStatus):
        await connect(panel_socket.url, origin="https://evil.example")  # type: ignore[arg-type]


async def test_a_stranger_gets_nothing_but_the_challenge(panel_socket: PanelSocket) -> None:
    async with connect(panel_socket.url, compression=None) as socket:
        unpack(await socket.recv(), Challenge)
        await socket.send(pack(Hello("a" * 32, proofs.nonce(), "0" * 64, BOOT, datetime.now(UTC))))
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == CloseCode.REFUSED


async def test_reports_before_the_proof_are_refused(panel_socket: PanelSocket) -> None:
    async with connect(panel_socket.url, compression=None) as socket:
        await socket.recv()
        await socket.send(pack(Samples((sample(1),))))
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == CloseCode.MALFORMED


async def test_an_overheard_greeting_is_of_no_use(panel_socket: PanelSocket, tmp_path: Path) -> None:
    async with raw_agent(panel_socket, tmp_path) as agent:
        session = agent.session
    async with connect(panel_socket.url, compression=None) as first, connect(panel_socket.url, compression=None) as other:
        session.begin()
        session.receive(await first.recv())
        overheard = session.outgoing()[0]
        await other.recv()
        await other.send(overheard)
        with pytest.raises(ConnectionClosed):
            await other.recv()
        assert other.close_code == CloseCode.REFUSED


# ── revocation ───────────────────────────────────────────────────────────────


async def test_revoking_closes_the_socket_and_the_secret_never_counts_again(
    panel_socket: PanelSocket, tmp_path: Path
) -> None:
    async with raw_agent(panel_socket, tmp_path) as agent:
        row = await sync_to_async(Agent.objects.get)(host=agent.host)
        await sync_to_async(revoke)(PANEL, row)
        assert await agent.end() == CloseCode.REFUSED
    with pytest.raises(ConnectionClosed):
        async with raw_agent(panel_socket, tmp_path, known=True):
            pass


async def test_a_stolen_secret_ends_when_the_host_is_enrolled_again(panel_socket: PanelSocket, tmp_path: Path) -> None:
    async with raw_agent(panel_socket, tmp_path) as thief, raw_agent(panel_socket, tmp_path) as owner:
        assert await thief.end() == CloseCode.REFUSED
        await owner.say(Samples((sample(1),)))
        await until(LatestSample.objects.exists, "the owner's sample")


async def test_a_second_agent_for_one_host_is_refused_until_the_first_is_replaced(
    start_agent: StartAgent, simulated_host: SimulatedHost, panel_socket: PanelSocket, tmp_path: Path
) -> None:
    running = await start_agent(simulated_host)
    copy = tmp_path / "copy.json"
    copy.write_text((tmp_path / "gpu-1.json").read_text())
    copy.chmod(0o600)
    again = await start_agent(simulated_host, secret_file=copy)
    await until(lambda: running.agent.session.state is State.CLOSED, "the first to be cut off")
    assert again.agent.session.state is State.OPEN
    assert await sync_to_async(Agent.objects.count)() == 1


# ── agents that mean harm ────────────────────────────────────────────────────


async def test_an_agent_speaks_of_its_own_host_only(panel_socket: PanelSocket, tmp_path: Path) -> None:
    victim = await sync_to_async(GpuFactory)(uuid="GPU-victim", host__last_sample_at=datetime.now(UTC))
    async with raw_agent(panel_socket, tmp_path) as agent:
        await agent.say(Samples((sample(1, uuid="GPU-victim"),)))
        row = await until(Agent.objects.exclude(problem="").first, "the problem to be told")
        assert "GPU-victim" in row.problem
        assert victim.host.name in row.problem
    unchanged = await sync_to_async(Gpu.objects.select_related("host").get)(uuid="GPU-victim")
    assert (unchanged.host, unchanged.present) == (victim.host, True)


async def test_it_observes_no_endpoint_of_another_host(panel_socket: PanelSocket, tmp_path: Path) -> None:
    async with raw_agent(panel_socket, tmp_path, "gpu-2") as victim:
        await victim.say(Announce((LocalEndpoint("ollama", "ollama"),)))
        row = await until(Endpoint.objects.first, "the endpoint")
        async with raw_agent(panel_socket, tmp_path) as agent:
            await agent.say(Observed("ollama", observation=Observation()), Announce(()), Samples((sample(1),)))
            await until(LatestSample.objects.filter(host=agent.host).exists, "all to be heard")
    assert (await sync_to_async(Endpoint.objects.get)(pk=row.pk)).state == "unknown"


async def test_it_ends_no_command_of_another_agent(panel_socket: PanelSocket, tmp_path: Path) -> None:
    async with raw_agent(panel_socket, tmp_path, "gpu-2") as victim, raw_agent(panel_socket, tmp_path) as agent:
        row = await sync_to_async(_sent_command)(victim.host)
        await agent.say(Done(row.pk, {"forged": True}), Samples((sample(1),)))
        await until(LatestSample.objects.filter(host=agent.host).exists, "all to be heard")
    assert (await sync_to_async(AgentCommand.objects.get)(pk=row.pk)).state == AgentCommand.State.SENT


def _sent_command(host: Host) -> AgentCommand:
    deadline = datetime.now(UTC) + timedelta(minutes=1)
    return AgentCommand.objects.create(
        agent=Agent.objects.get(host=host), call="load", state="sent", boot_id=BOOT, deadline_at=deadline
    )


async def test_the_future_and_the_distant_past_are_not_stored(panel_socket: PanelSocket, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    lies = [
        sample(1, now + timedelta(hours=2)),
        sample(2, now - timedelta(days=2)),
        sample(3, datetime.max.replace(tzinfo=UTC)),
    ]
    async with raw_agent(panel_socket, tmp_path) as agent:
        await agent.say(Samples((*lies, sample(4))))
        await until(lambda: remembered(agent.host), "the right one")
        assert await sync_to_async(remembered)(agent.host) == [4]
        assert "refused" in (await sync_to_async(Agent.objects.get)(host=agent.host)).problem


async def test_a_moment_ahead_is_taken_as_now(panel_socket: PanelSocket, tmp_path: Path) -> None:
    async with raw_agent(panel_socket, tmp_path):
        pass
    async with raw_agent(panel_socket, tmp_path, known=True) as agent:
        await agent.say(Samples((sample(1, datetime.now(UTC) + timedelta(seconds=20)),)))
        row = await until(LatestSample.objects.first, "the sample")
    assert row.taken_at <= datetime.now(UTC)


MALFORMED = {
    "no JSON": "{",
    "a message that only the panel sends": '["Committed",{"sequence":1,"time":"2026-11-21T12:00:00+00:00"}]',
    "a wrong type": '["Samples",{"items":[{"boot_id":1}]}]',
    "a hundred thousand brackets": "[" * 50_000,
    "a part out of order": pack(Part(1, 3, "x")),
    "an answer that lacks parts": pack(Done(1, parts=2)),
    "an endpoint by the name of a managed server": pack(Announce((LocalEndpoint("managed.0123", "ollama"),))),
    "an endpoint of another kind": pack(Announce((LocalEndpoint("x", "shell"),))),
    "a hundred endpoints": pack(Announce(tuple(LocalEndpoint(f"e{number}", "ollama") for number in range(100)))),
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
async def test_what_cannot_be_understood_ends_the_conversation(
    text: str, panel_socket: PanelSocket, tmp_path: Path
) -> None:
    async with raw_agent(panel_socket, tmp_path) as agent:
        await agent.say(text)
        assert await agent.end() == CloseCode.MALFORMED


async def test_a_huge_message_is_not_even_read(panel_socket: PanelSocket, tmp_path: Path) -> None:
    async with raw_agent(panel_socket, tmp_path) as agent:
        await agent.say("x" * 200_000)
        assert await agent.end() == 1009


async def test_an_endless_answer_is_cut_off(panel_socket: PanelSocket, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("models_app.agent_link.consumer.MOST_ANSWER_CHARACTERS", 50_000)
    async with raw_agent(panel_socket, tmp_path) as agent:
        await agent.say(*(Part(1, index, "x" * 12_000) for index in range(6)))
        assert await agent.end() == CloseCode.MALFORMED


async def test_a_flood_is_cut_off(panel_socket: PanelSocket, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(line, "BURST_MESSAGES", 20)
    async with raw_agent(panel_socket, tmp_path) as agent:
        try:
            for _ in range(2000):
                await agent.say(Samples((sample(1),)))
        except ConnectionClosed:
            pass
        assert await agent.end() == CloseCode.FLOOD


async def test_a_hostile_agent_does_not_disturb_the_others(
    panel_socket: PanelSocket, tmp_path: Path, start_agent: StartAgent, simulated_host: SimulatedHost
) -> None:
    running: RunningAgent = await start_agent(simulated_host, name="gpu-2")
    for text in MALFORMED.values():
        async with raw_agent(panel_socket, tmp_path) as agent:
            await agent.say(text)
            await agent.end()
    before = await sync_to_async(LatestSample.objects.get)(host=running.host)
    later = LatestSample.objects.filter(host=running.host, sequence__gt=before.sequence)
    await until(later.exists, "the other's next sample")


async def test_texts_that_no_database_takes_are_refused(panel_socket: PanelSocket, tmp_path: Path) -> None:
    text = pack(Samples((replace(sample(1), nvml_problem="zero"),))).replace("zero", "\\u0000")
    async with raw_agent(panel_socket, tmp_path) as agent:
        await agent.say(text)
        assert await agent.end() == CloseCode.MALFORMED
