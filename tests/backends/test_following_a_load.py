"""A router's load is followed by its events; its list is asked where they do not come."""

from __future__ import annotations

import asyncio

import pytest

from models_app.backends import llama_load
from models_app.backends.llama_answers import RouterEntry, router_entries
from models_app.backends.llama_load import News, follow_load
from models_app.backends.protocol import Progress


async def test_while_events_come_the_list_is_not_asked() -> None:
    news: News = asyncio.Queue()
    for progress in (Progress("loading", fraction=0.5), Progress("loaded")):
        news.put_nowait(progress)

    async def ask() -> RouterEntry:
        pytest.fail("it asked")

    assert [progress.fraction async for progress in follow_load(ask, news, 60)] == [None, 0.5]


async def test_without_events_the_list_tells_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_load, "_FIRST_PAUSE_SECONDS", 0.001)
    states = iter(("loading", "loading", "loaded"))

    async def ask() -> RouterEntry:
        return router_entries({"data": [{"id": "tiny", "status": {"value": next(states)}}]})[0]

    assert [progress.status async for progress in follow_load(ask, asyncio.Queue(), 60)] == ["loading"]
    assert next(states, None) is None
