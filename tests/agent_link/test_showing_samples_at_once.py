"""A sample of a host that somebody looks at is on its way to the page before it is taken in."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from asgiref.sync import sync_to_async

from models_app.agent.messages import Committed, Samples
from models_app.agent_link.door import watch
from models_app.telemetry import fresh
from models_app.telemetry.models import LatestSample
from tests.agent_link.test_agents_over_a_socket import RawAgent, raw_agent, sample
from tests.fixtures.agents import PanelSocket, until
from tests.telemetry.test_showing_before_writing import Looking


@asynccontextmanager
async def looked_at(panel: PanelSocket, folder: Path) -> AsyncIterator[tuple[RawAgent, Looking]]:
    """An agent whose first sample is known, and somebody who looks at its host since then."""
    async with raw_agent(panel, folder) as agent:
        await agent.say(Samples((sample(1),)))
        await agent.heard(Committed)
        looking = Looking(agent.host.pk)
        fresh.listen(looking)
        await sync_to_async(watch)(agent.host.pk)
        await agent.heard(Committed)
        try:
            yield agent, looking
        finally:
            fresh.unlisten(looking)


async def test_it_is_shown_before_its_row_is_written(
    panel_socket: PanelSocket, tmp_path: Path, goes_on: threading.Event
) -> None:
    async with looked_at(panel_socket, tmp_path) as (agent, looking):
        await agent.say(Samples((sample(2),)))
        await until(lambda: looking.sequences == [2], "the sample")
        assert (await LatestSample.objects.aget()).sequence == 1
        goes_on.set()
        await until(LatestSample.objects.filter(sequence=2).exists, "its row")


async def test_a_gpu_of_which_nobody_knows_whose_it_is_is_shown_by_its_row(
    panel_socket: PanelSocket, tmp_path: Path, goes_on: threading.Event
) -> None:
    async with looked_at(panel_socket, tmp_path) as (agent, looking):
        await agent.say(Samples((sample(2, uuid="GPU-of-another"),)), Samples((sample(3),)))
        await until(lambda: looking.sequences == [3], "the sample of its own GPU")
        goes_on.set()
        await until(LatestSample.objects.filter(sequence=3).exists, "its row")
