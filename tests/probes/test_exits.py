"""The end of a process is noticed when it comes."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from models_app.probes.exits import wait_for_exit

FOREVER_SECONDS = 60.0


async def test_the_end_of_the_last_process_ends_the_waiting() -> None:
    reads_to_its_end = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    first, second = (subprocess.Popen(reads_to_its_end, stdin=subprocess.PIPE) for _ in range(2))
    waiting = asyncio.create_task(wait_for_exit([first.pid, second.pid], FOREVER_SECONDS))
    first.communicate()
    await asyncio.sleep(0)
    assert not waiting.done()
    second.communicate()
    await asyncio.wait_for(waiting, 20)


async def test_a_process_that_stays_is_waited_for_no_longer_than_asked() -> None:
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        await asyncio.wait_for(wait_for_exit([process.pid], 0.01), 20)
        assert process.poll() is None


async def test_a_process_that_has_gone_is_not_waited_for() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    await asyncio.wait_for(wait_for_exit([process.pid], FOREVER_SECONDS), 20)
