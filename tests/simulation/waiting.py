"""Waiting for what a simulated server does by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], what: str = "the condition") -> None:
    """Return as soon as ``condition`` holds. Fails after ten seconds."""
    try:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - the simulated machines have no event for every change
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"{what} did not come about") from None
