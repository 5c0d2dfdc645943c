"""The end of a process is noticed when it comes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import pytest

from models_app.probes.exits import wait_for_exit

FOREVER_SECONDS = 60.0
READS_TO_ITS_END = [sys.executable, "-c", "import sys; sys.stdin.read()"]


@pytest.fixture
def two() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes = [subprocess.Popen(READS_TO_ITS_END, stdin=subprocess.PIPE) for _ in range(2)]
    yield processes
    for process in processes:
        process.communicate()


async def test_the_end_of_the_last_process_ends_the_waiting(two: list[subprocess.Popen[bytes]]) -> None:
    waiting = asyncio.create_task(wait_for_exit([process.pid for process in two], FOREVER_SECONDS))
    two[0].kill()
    await asyncio.to_thread(two[0].wait)
    assert not waiting.done()
    two[1].kill()
    await asyncio.wait_for(waiting, 20)


async def test_a_process_that_stays_is_waited_for_no_longer_than_asked(two: list[subprocess.Popen[bytes]]) -> None:
    await asyncio.wait_for(wait_for_exit([two[0].pid], 0.01), 20)
    assert two[0].poll() is None


async def test_a_process_that_has_gone_is_not_waited_for(two: list[subprocess.Popen[bytes]]) -> None:
    two[0].kill()
    two[0].wait()
    await asyncio.wait_for(wait_for_exit([two[0].pid], FOREVER_SECONDS), 20)
