"""Works on the rows of every host are done by the process beside the panel's own while there is one, else by the panel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from models_app.agent.messages import CloseCode
from models_app.agent_link import door
from models_app.alerts import evaluator, limits
from models_app.alerts.models import Alert
from models_app.alerts.rules.catalogue import RULES
from models_app.alerts.rules.findings import Limits, Reading, Subject
from models_app.runtime import beside
from models_app.runtime.beside import ALERTS, HISTORY, WORKS, Tick, Works, here_or_beside
from tests.agent_link.test_agents_over_a_socket import raw_agent
from tests.agent_link.test_taking_in_apart import Beside, process_beside
from tests.fixtures.agents import PanelSocket, until

__all__ = ["process_beside"]


@pytest.fixture
def asked() -> Iterator[list[str]]:
    """What a process beside this one is asked to do."""
    works: list[str] = []
    door.open_beside(works.append)
    yield works
    door.open_beside(None)


class Counted:
    """Makes a work, and counts how often each that was made has been done."""

    def __init__(self) -> None:
        self.done: list[int] = []

    def __call__(self) -> Tick:
        place = len(self.done)
        self.done.append(0)

        async def tick() -> None:
            self.done[place] += 1

        return tick


def test_alerts_and_the_history_are_such_works() -> None:
    assert set(WORKS) == {ALERTS, HISTORY}


async def test_a_work_is_done_beside_or_here_and_never_by_both(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    made = Counted()
    monkeypatch.setattr(beside, "WORKS", {ALERTS: made})
    tick = here_or_beside(ALERTS)
    await tick()
    assert (asked, made.done) == ([ALERTS], [])
    door.open_beside(None)
    await tick()
    await tick()
    assert (asked, made.done) == ([ALERTS], [2])


async def test_a_work_that_comes_back_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    made, works = Counted(), list[str]()
    monkeypatch.setattr(beside, "WORKS", {ALERTS: made})
    tick = here_or_beside(ALERTS)
    await tick()
    door.open_beside(works.append)
    await tick()
    door.open_beside(None)
    await tick()
    assert (works, made.done) == ([ALERTS], [1, 1])


async def test_a_work_that_still_goes_on_is_not_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end = list[int](), asyncio.Event()

    async def tick() -> None:
        begun.append(1)
        await may_end.wait()

    monkeypatch.setattr(beside, "WORKS", {HISTORY: lambda: tick})
    works = Works()
    works.begin(HISTORY)
    works.begin(HISTORY)
    await asyncio.sleep(0)
    may_end.set()
    await works.settled()
    assert len(begun) == 1
    works.begin(HISTORY)
    await works.settled()
    assert len(begun) == 2


async def test_a_work_that_fails_is_tried_again_when_it_is_due(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[int] = []

    async def tick() -> None:
        tried.append(1)
        raise OSError("the disk is full")

    monkeypatch.setattr(beside, "WORKS", {HISTORY: lambda: tick})
    works = Works()
    for _ in range(2):
        works.begin(HISTORY)
        await works.settled()
    assert len(tried) == 2
    assert "the disk is full" in caplog.text


async def test_alerts_are_raised_there_until_it_dies(
    panel_socket: PanelSocket, tmp_path: Path, process_beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule that always finds something tells which process has looked."""
    works = Works()
    process_beside.begin = works.begin
    tick, raised = here_or_beside(ALERTS), Alert.objects.filter(subject="atlas", state="open")
    async with raw_agent(panel_socket, tmp_path) as agent:
        found = Reading(Subject("atlas", "atlas", agent.host.pk), 1.0, "atlas was looked at.")
        rule = replace(RULES[0], look=lambda *_: iter([found]), limits=Limits(1.0, 0.0, 0.0))
        for module in (evaluator, limits):
            monkeypatch.setattr(module, "RULES", (rule,))
        await until(lambda: process_beside.started, "the process")
        await tick()
        await until(raised.exists, "the alert")
        await works.settled()
        await raised.adelete()
        process_beside.die()
        assert await agent.end() == CloseCode.RESTARTED
    await until(lambda: not door.ask_beside(ALERTS), "its end")
    assert not await raised.aexists()
    await tick()
    assert await raised.aexists()
