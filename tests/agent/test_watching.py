"""What an agent looks at, and when."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from models_app.agent.messages import Observed
from models_app.agent.session import State
from models_app.agent.watch import Watch
from models_app.backends.protocol import Observation

PATIENCE_SECONDS = 10.0


class Endpoints:
    """A managed server and one of the file, which count the looks at them."""

    names = ("managed.0123", "ollama")

    def __init__(self) -> None:
        self.looks: Counter[str] = Counter()
        self.has_looked_twice, self.has_looked_often = asyncio.Event(), asyncio.Event()

    async def backend(self, name: str) -> Any:
        endpoints = self

        class Backend:
            async def observe(self) -> Observation:
                endpoints.looks[name] += 1
                if endpoints.looks[name] > 1:
                    endpoints.has_looked_twice.set()
                if min(endpoints.looks[each] for each in endpoints.names) > 3:
                    endpoints.has_looked_often.set()
                return Observation()

        return Backend()


class Session:
    """That of an agent."""

    state = State.CHALLENGED
    observe_seconds = 0.0

    def __init__(self) -> None:
        self.said: list[Observed] = []

    def say(self, message: Observed) -> None:
        self.said.append(message)


async def test_while_the_panel_is_away_only_managed_servers_are_looked_at_so_that_a_restarted_one_is_known_as_healthy():
    endpoints, session = Endpoints(), Session()
    watch = asyncio.create_task(Watch(endpoints, session, asyncio.Event()).run())  # type: ignore[arg-type]
    async with asyncio.timeout(PATIENCE_SECONDS):
        await endpoints.has_looked_twice.wait()
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    assert set(endpoints.looks) == {"managed.0123"}
    assert session.said == []


async def test_the_first_word_on_an_endpoint_is_told_again_soon_for_the_panel_may_not_have_known_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("models_app.agent.watch.REPEAT_FIRST_SECONDS", 0.0)
    endpoints, session = Endpoints(), Session()
    session.state = State.OPEN
    watch = asyncio.create_task(Watch(endpoints, session, asyncio.Event()).run())  # type: ignore[arg-type]
    async with asyncio.timeout(PATIENCE_SECONDS):
        await endpoints.has_looked_often.wait()
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    assert Counter(word.endpoint for word in session.said) == {"managed.0123": 2, "ollama": 2}
