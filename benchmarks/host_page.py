"""P3 under P4's load: from a sample to the page of its host in Chromium, while many hosts report every second.

    .venv/bin/python -m benchmarks.host_page [HOSTS …] [--seconds 60]

One Chromium holds the page of one simulated host open. The time runs from the moment that the sample itself names, on this
machine's one clock, until the page's DOM names that moment: the agent's socket, the panel's event loop, the rendering, the
browser's socket, the patch. The row is written after it. The host that is looked at has a simulator of its own, as an agent
has a machine of its own, and comes last, when all others are there. Beside it stands how many of the host's samples were
shown: of many hosts the panel may skip one.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import httpx
from playwright.sync_api import sync_playwright

from benchmarks import _harness as harness
from benchmarks._restartable_panel import Panel
from benchmarks.fleet_scale import CONNECT_A_SECOND, settle_seconds, simulator
from tests.fixtures.browser import chromium_path

LIMIT_SECONDS = 0.3
GPUS = 8
WATCH = """() => {
  window.seen = [];
  let last = "";
  new MutationObserver(() => {
    const at = document.querySelector("time.sampled")?.dateTime;
    if (at && at !== last) { last = at; seen.push([Date.parse(at), performance.timeOrigin + performance.now()]); }
  }).observe(document.getElementById("host-details").parentNode, {subtree: true, childList: true, attributes: true});
}"""


def measure(hosts: int, seconds: float) -> bool:
    with tempfile.TemporaryDirectory() as name:
        panel = Panel(Path(name))
        os.environ |= {"BERTH_ADMIN_USER": "ada", "BERTH_ADMIN_PASSWORD": harness.PASSWORD}
        panel.start()
        try:
            coming_seconds = hosts / CONNECT_A_SECOND + settle_seconds(hosts)
            lasting_seconds = coming_seconds + seconds + 120
            with (
                simulator(panel, hosts - 1, GPUS, lasting_seconds, Path(name) / "report.json"),
                _after(hosts / CONNECT_A_SECOND),
                simulator(panel, 1, GPUS, lasting_seconds, Path(name) / "own.json", seed=1),
            ):
                time.sleep(settle_seconds(hosts))
                return _report(hosts, seconds, _watch(panel, seconds))
        finally:
            panel.stop()


@contextmanager
def _after(seconds: float) -> Iterator[None]:
    time.sleep(seconds)
    yield


def _watch(panel: Panel, seconds: float) -> list[tuple[float, float]]:
    """When each sample that was shown was taken, and when it was shown, in milliseconds."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        page = browser.new_page(base_url=panel.url)
        page.goto("/login/")
        page.fill("input[name=username]", "ada")
        page.fill("input[name=password]", harness.PASSWORD)
        page.press("input[name=password]", "Enter")
        page.wait_for_url(f"{panel.url}/")
        page.goto(f"/hosts/{_last_host(panel)}/")
        page.evaluate(WATCH)
        page.wait_for_timeout(seconds * 1000)
        seen: list[Any] = page.evaluate("seen")
        browser.close()
    return [(taken, shown) for taken, shown in seen[1:]]


def _last_host(panel: Panel) -> int:
    token = panel.manage("token", "create", "host-page")
    answer = httpx.get(
        f"{panel.url}/api/v1/hosts",
        params={"is_local": "false", "per_page": "1", "sort": "-id"},
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
    )
    return int(answer.json()["items"][0]["id"])


def _report(hosts: int, seconds: float, seen: list[tuple[float, float]]) -> bool:
    taken = [(shown - taken) / 1000 for taken, shown in seen]
    p99 = quantiles(taken, n=100, method="inclusive")[-1] if len(taken) > 1 else float("inf")
    holds = p99 <= LIMIT_SECONDS
    print(f"P3 with {hosts} hosts × {GPUS} GPUs: p99 {p99 * 1000:.0f} ms, {harness.spread(taken)}")
    verdict = "holds" if holds else "MISSED"
    print(f"    limit {LIMIT_SECONDS * 1000:.0f} ms: {verdict}; {len(taken)} samples shown in {seconds:.0f} s")
    print(f"    load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    return holds


def main() -> int:
    """1 when the limit is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("hosts", nargs="*", type=int)
    parser.add_argument("--seconds", type=float, default=60)
    asked = parser.parse_args()
    results = [measure(hosts, asked.seconds) for hosts in asked.hosts or [10, 100, 300]]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
