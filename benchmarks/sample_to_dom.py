"""P3: from a GPU's sample to the changed page in Chromium, against a bare uvicorn broadcast of the same bytes to as many.

    .venv/bin/python benchmarks/sample_to_dom.py [ROUNDS] [FURTHER SOCKETS …]

One Chromium holds the Fleet page open, and 0, 99 and 499 further raw sockets listen beside it. The panel's time runs from
the sample in a recorder's hand until the page's DOM has changed: the hop to the event loop, rendering, broadcast, patch.
Its row is written after it, as in a panel at work. The peer is the same uvicorn in the same process sending the same bytes
to as many sockets, one of them a page of that Chromium that puts the text into its DOM unseen. Both are fed alternately;
clients and server share the machine's cores.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from playwright.async_api import BrowserContext, Page, async_playwright
from websockets.asyncio.client import ClientConnection, connect

from benchmarks import _harness as harness
from tests.fixtures.browser import chromium_path
from tests.ports import free_port

LIMIT = 1.3
NOW = "performance.timeOrigin + performance.now()"
WATCH_PANEL = f"""() => {{
  window.seen = [];
  new MutationObserver(() => {{
    const found = document.querySelector("section.gpu .nums")?.textContent.match(/util\\s+(\\d+) %/);
    if (found) seen.push([Number(found[1]), {NOW}]);
  }}).observe(document.body, {{subtree: true, childList: true, characterData: true, attributes: true}});
}}"""
WATCH_BARE = f"""() => new Promise(opened => {{
  window.seen = [];
  const socket = new WebSocket(`ws://${{location.host}}/bare/`);
  const place = document.createElement("template");
  socket.onopen = opened;
  socket.onmessage = ({{data}}) => {{
    const {{revision}} = JSON.parse(data);
    place.textContent = data;
    seen.push([revision, {NOW}]);
  }};
}})"""


async def measure(further: int, rounds: int) -> bool:
    port = free_port()
    async with AsyncExitStack() as stack:
        server, cookie = await stack.enter_async_context(_server(rounds, port))
        context = await stack.enter_async_context(_chromium(cookie, port))
        panel, bare = await context.new_page(), await context.new_page()
        await bare.goto(f"http://127.0.0.1:{port}/healthz")
        await bare.evaluate(WATCH_BARE)
        await panel.goto(f"http://127.0.0.1:{port}/")
        await panel.evaluate(WATCH_PANEL)
        for _ in range(further):
            for path in ("live/fleet", "bare"):
                socket = await stack.enter_async_context(_socket(port, path, cookie))
                task = asyncio.create_task(_drain(socket))
                stack.callback(task.cancel)
        await asyncio.sleep(2)
        assert server.stdin
        server.stdin.write(b"go\n")
        lines = [await _line(server) for _ in range(2 * rounds)]
        return _report(further, lines, await _seen(panel, bare))


async def _seen(panel: Page, bare: Page) -> dict[str, list[list[float]]]:
    await asyncio.sleep(1)
    return {"panel": await panel.evaluate("seen"), "bare": await bare.evaluate("seen")}


def _report(further: int, lines: list[dict[str, Any]], seen: dict[str, list[list[float]]]) -> bool:
    taken: dict[str, list[float]] = {"panel": [], "bare": []}
    for line in lines:
        began = line["began"] * 1000
        number = len(taken[line["kind"]])
        changed = [at for shown, at in seen[line["kind"]] if int(shown) == number and at >= began]
        assert changed, f"round {number} of {line['kind']} was never shown"
        taken[line["kind"]].append((changed[0] - began) / 1000)
    panel, bare = (_p99(taken[kind]) for kind in ("panel", "bare"))
    print(
        f"P3 one Chromium and {further} further sockets, {lines[-1]['size']:,} bytes: ratio of the p99 {panel / bare:.2f}"
    )
    print(f"    limit {LIMIT}: {'holds' if panel <= LIMIT * bare else 'MISSED'}; median's ratio {_ratio(taken):.2f}")
    for kind, values in taken.items():
        print(f"    {kind:5}  p99 {_p99(values) * 1000:.0f} ms, {harness.spread(values)}, {len(values)} rounds")
    print(f"    load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return panel <= LIMIT * bare


def _ratio(taken: dict[str, list[float]]) -> float:
    return median(taken["panel"]) / median(taken["bare"])


def _p99(values: list[float]) -> float:
    return sorted(values)[max(0, int(len(values) * 0.99) - 1)]


async def _drain(socket: ClientConnection) -> None:
    async for _ in socket:
        pass


def _socket(port: int, path: str, cookie: str) -> connect:
    headers = {"Cookie": cookie, "Origin": f"http://127.0.0.1:{port}"}
    return connect(f"ws://127.0.0.1:{port}/{path}/", additional_headers=headers, open_timeout=60)


@asynccontextmanager
async def _chromium(cookie: str, port: int) -> AsyncIterator[BrowserContext]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        context = await browser.new_context()
        name, value = cookie.split("=")
        await context.add_cookies([{"name": name, "value": value, "url": f"http://127.0.0.1:{port}"}])
        yield context
        await browser.close()


@asynccontextmanager
async def _server(rounds: int, port: int) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    with tempfile.TemporaryDirectory() as folder:
        server = await asyncio.create_subprocess_exec(
            *["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "benchmarks.p3_server", str(rounds), str(port)],
            cwd=harness.ROOT,
            env=os.environ | {"BERTH_DATA_DIR": folder, "BERTH_DISCOVERY": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert server.stdout
        try:
            yield server, (await server.stdout.readline()).decode().strip()
        finally:
            server.kill()
            await server.wait()


async def _line(server: asyncio.subprocess.Process) -> dict[str, Any]:
    assert server.stdout
    line: dict[str, Any] = json.loads(await server.stdout.readline())
    return line


def main() -> int:
    rounds = min(100, int(sys.argv[1])) if len(sys.argv) > 1 else 100
    further = [int(value) for value in sys.argv[2:]] or [0, 99, 499]
    results = [asyncio.run(measure(count, rounds)) for count in further]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
