"""P3: from a GPU sample to every open browser, against a bare uvicorn broadcast of the same bytes to as many sockets.

The panel's time begins before the sample's row is written, so it holds the database, the live event, rendering and the
broadcast; the bare broadcast holds only the last of these. Both run in one process over one uvicorn, alternately. What
limits both is uvicorn's send to each socket, compression included; what limits the panel beside it is rendering.

    python -m benchmarks.p3_sample_to_socket [sockets] [rounds]
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from typing import Any

from websockets.asyncio.client import connect

PORT = 8977
LIMIT = 1.3


def p99(values: list[float]) -> float:
    return sorted(values)[max(0, int(len(values) * 0.99) - 1)]


# ── the browsers ─────────────────────────────────────────────────────────────
class Arrivals:
    """When which socket heard which round, in seconds since the epoch."""

    def __init__(self) -> None:
        self.at: dict[tuple[str, int], list[float]] = defaultdict(list)
        self.open = 0

    async def listen(self, kind: str, cookie: str) -> None:
        path = "live/fleet" if kind == "panel" else "bare"
        headers = {"Cookie": cookie, "Origin": f"http://127.0.0.1:{PORT}"}
        async with connect(f"ws://127.0.0.1:{PORT}/{path}/", additional_headers=headers, open_timeout=60) as socket:
            self.open += 1
            async for message in socket:
                self.at[kind, self._number(message)].append(time.time())

    @staticmethod
    def _number(message: str) -> int:
        """The panel's revision or the broadcast's round; read alike, so that neither is slowed by its reader."""
        start = len('{"revision":')
        return int(message[start : message.index(",", start)])


async def measure(sockets: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.p3_server", str(rounds)]
        environment = os.environ | {"BERTH_DATA_DIR": folder, "BERTH_DISCOVERY": "0"}
        server = subprocess.Popen(  # noqa: ASYNC220 - before anything is timed
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert server.stdin
        assert server.stdout
        try:
            cookie = (await asyncio.to_thread(server.stdout.readline)).strip()
            arrivals = Arrivals()
            kinds = ("panel", "bare") * sockets
            tasks = [asyncio.create_task(arrivals.listen(kind, cookie)) for kind in kinds]
            while arrivals.open < len(kinds):  # noqa: ASYNC110 - once, before anything is timed
                await asyncio.sleep(0.1)
            await asyncio.sleep(2)
            server.stdin.write("go\n")
            server.stdin.flush()
            lines = [json.loads(await asyncio.to_thread(server.stdout.readline)) for _ in range(2 * rounds)]
            await asyncio.sleep(1)
            for task in tasks:
                task.cancel()
        finally:
            server.kill()
    report(lines, arrivals, sockets)


def report(lines: list[dict[str, Any]], arrivals: Arrivals, sockets: int) -> None:
    taken: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        heard = arrivals.at[line["kind"], line["number"]][:sockets]
        assert len(heard) == sockets, f"{line} was heard by {len(heard)} of {sockets}"
        taken[line["kind"]] += [at - line["began"] for at in heard]
    panel, bare = p99(taken["panel"]), p99(taken["bare"])
    print(f"P3  {sockets} sockets, {lines[-1]['size']:,} bytes: ratio {panel / bare:.2f}, limit {LIMIT}")
    print(
        f"    panel  p99 {panel * 1000:.0f} ms, median {middle(taken['panel']):.0f} ms, from before its row is written"
    )
    print(f"    bare   p99 {bare * 1000:.0f} ms, median {middle(taken['bare']):.0f} ms, broadcast alone")


def middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] * 1000


def main() -> None:
    sockets = int(sys.argv[1]) if len(sys.argv) > 1 else 499
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 30
    asyncio.run(measure(sockets, rounds))


if __name__ == "__main__":
    main()
