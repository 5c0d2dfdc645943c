"""Waiting for a process of this machine to end, without asking again and again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from contextlib import ExitStack, suppress


async def wait_for_exit(pids: Iterable[int], seconds: float) -> None:
    """Return when these processes have ended, and after ``seconds`` at the latest.

    One that has gone or may not be watched counts as ended; where the kernel has no pidfd (Linux before 5.3), all do.
    """
    loop = asyncio.get_running_loop()
    with ExitStack() as watches, suppress(TimeoutError):
        ends = []
        for pid in pids:
            with suppress(OSError, AttributeError):
                handle = os.pidfd_open(pid)
                watches.callback(os.close, handle)
                end = asyncio.Event()
                loop.add_reader(handle, end.set)
                watches.callback(loop.remove_reader, handle)
                ends.append(end)
        async with asyncio.timeout(seconds):
            for end in ends:
                await end.wait()
