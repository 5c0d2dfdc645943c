"""What goes on in rhythm begins at different moments, and gives way to what is urgent."""

from __future__ import annotations

import asyncio

import pytest

from models_app.runtime import background


class Gate:
    """Something urgent that ends when it is told to."""

    def __init__(self) -> None:
        self.met, self.opened = asyncio.Event(), asyncio.Event()

    async def give_way_async(self) -> None:
        self.met.set()
        await self.opened.wait()


async def test_no_rhythm_goes_on_while_something_is_urgent(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, stop, ticked = Gate(), asyncio.Event(), asyncio.Event()
    monkeypatch.setattr(background, "precedence", gate)

    async def tick() -> None:
        ticked.set()

    rhythm = asyncio.create_task(background._every(60, tick, stop, first_after_seconds=0))
    await gate.met.wait()
    assert not ticked.is_set()
    gate.opened.set()
    await ticked.wait()
    stop.set()
    await rhythm


async def test_a_rhythm_that_is_told_to_stop_before_its_first_time_never_begins() -> None:
    stop = asyncio.Event()

    async def tick() -> None:
        pytest.fail("it began")

    rhythm = asyncio.create_task(background._every(60, tick, stop, first_after_seconds=60))
    stop.set()
    await rhythm
