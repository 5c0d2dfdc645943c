"""What the benchmarks share: a panel of their own, a real router, a stand-in driver, pairs of timings and their report."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx

from tests.native.build import build_nvml_stub
from tests.ports import free_port
from tests.runtime.several_processes import Web
from tests.tools.model_cache import FOLDER, cached_models
from tools.build_llama_server import installed_binary

ROOT = Path(__file__).resolve().parents[1]
PASSWORD = "correct horse battery staple"
START_SECONDS = 60.0
LOOK_EVERY_SECONDS = 0.005
LOAD_SECONDS = 120.0


# ── servers ──────────────────────────────────────────────────────────────────
@contextmanager
def router() -> Iterator[httpx.Client]:
    """A client of a real llama-server in router mode, over the models of the tests."""
    binary = installed_binary()
    assert binary, "there is no llama-server: run `make llama-server` first"
    cached_models()
    with tempfile.TemporaryDirectory() as folder:
        options = ["--host", "127.0.0.1", "--port", "0", "--models-dir", str(FOLDER), "--models-max", "4", "--offline"]
        log = Path(folder) / "log"
        with running([*_second_in_line(), str(binary), *options, "--ctx-size", "512"], log):
            address = until(lambda: re.search(r"listening on (http://\S+)", log.read_text(errors="replace")), log)
            # llama-server now and then drops a connection that was kept.
            with httpx.Client(base_url=address[1], timeout=60, limits=httpx.Limits(max_keepalive_connections=0)) as client:
                until(lambda: client.get("/health").is_success, log)
                yield client


def _second_in_line() -> list[str]:
    """At real-time priority, which sets other programs aside, a server that computes would let no panel in that wakes."""
    return ["chrt", "--rr", "5"] if os.sched_getscheduler(0) == os.SCHED_RR else []


@contextmanager
def panel(**environment: str) -> Iterator[Web]:
    """``manage.py up`` in a new data folder, with one GPU whose memory follows every llama-server of this machine."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_nvml_stub(folder / "driver")
        state = "count=1\ngpu0.total_mb=200000\ngpu0.used_mb=400\ngpu0.follow=llama-server\n"
        (folder / "nvml.conf").write_text(state)
        port = free_port()
        settings = {
            "BERTH_PORT": str(port),
            "BERTH_DATA_DIR": str(folder / "data"),
            "BERTH_ADMIN_PASSWORD": PASSWORD,
            "BERTH_ADMIN_USER": "ada",
            "BERTH_DISCOVERY": "0",
            "LD_LIBRARY_PATH": str(folder / "driver"),
            "NVML_STUB_FILE": str(folder / "nvml.conf"),
        }
        everything = os.environ | settings | environment
        log = folder / "log"
        with running([sys.executable, "manage.py", "up"], log, everything):
            until(lambda: "is ready at" in log.read_text(errors="replace"), log)
            create = [sys.executable, "manage.py", "token", "create", "benchmark", "--scope", "write"]
            token = subprocess.run(
                create, cwd=ROOT, env=everything, capture_output=True, text=True, check=True
            ).stdout.strip()
            url = f"http://127.0.0.1:{port}"
            with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as script:
                web = Web(url, PASSWORD, script)
                until(lambda: web.readiness() == {}, log)
                yield web


def enter_endpoint(web: Web, url: str, kind: str, *models: str) -> None:
    """Add an endpoint of the panel's own host as an admin does, and wait until its models are known."""
    with web.browser() as browser:
        host = web.get("hosts")["items"][0]["id"]
        web.submit(browser, f"/hosts/{host}/endpoints/add/", url=url, kind=kind, endpoint_name="peer")
    until(lambda: {*models} <= {place["name"] for row in web.get("models")["items"] for place in row["installations"]})


@contextmanager
def running(command: list[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    """A process that dies with this one; it is asked to end when the block does."""
    with log.open("wb") as output:
        guarded = ["setpriv", "--pdeathsig", "KILL", *command]
        process = subprocess.Popen(guarded, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def until(look: Callable[[], Any], log: Path | None = None, seconds: float = START_SECONDS) -> Any:
    """What ``look`` returns once that is true. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := look():
                return found
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(log.read_text(errors="replace")[-4000:] if log else "it did not come about")
        time.sleep(LOOK_EVERY_SECONDS)


# ── the bare calls of a router, and the panel's operations ───────────────────
def load(client: httpx.Client, model: str) -> None:
    """Load and wait until the router lists the model as loaded, asking all the time."""
    client.post("/models/load", json={"model": model}).raise_for_status()
    until(lambda: status(client, model) == "loaded", seconds=LOAD_SECONDS)


def unload(client: httpx.Client, model: str) -> None:
    """Unload and wait until the model's process has ended."""
    client.post("/models/unload", json={"model": model}).raise_for_status()
    until(lambda: status(client, model) == "unloaded", seconds=LOAD_SECONDS)


def status(client: httpx.Client, model: str) -> str:
    """The router's word for the model's state."""
    rows = client.get("/models").json()["data"]
    return str(next(row["status"]["value"] for row in rows if row["id"] == model))


def operate(web: Web, **body: Any) -> float:
    """Seconds from before the request was sent until the operation's end, by the one clock of this machine.

    It is asked for and waited for in one request.
    """
    began = time.time()
    row = web.carried_out(endpoint="peer", **body)
    told_at = time.time()
    assert row["state"] == "succeeded", (row["error_code"], row["error_message"])
    VERDICTS.add(row["verified_by"])
    finished_at = datetime.fromisoformat(row["finished_at"]).timestamp()
    if row["kind"] != "unload":
        TOLD_AFTER.append(told_at - finished_at)
    return finished_at - began


VERDICTS: set[str] = set()
"""What the panel's successes were verified by."""
TOLD_AFTER: list[float] = []
"""Seconds from the end that a row names until the script had the answer; the row was written meanwhile. No unloads."""


def timed(action: Callable[[], object]) -> float:
    """Seconds that the call took."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


# ── pairs ────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Pairs:
    """Seconds of the panel and of its peer, taken alternately."""

    panel: list[float]
    peer: list[float]

    @property
    def ratio(self) -> float:
        """The median of each pair's ratio."""
        return median(a / b for a, b in zip(self.panel, self.peer, strict=True))

    @property
    def over(self) -> float:
        """The median of the seconds that the panel took more."""
        return median(a - b for a, b in zip(self.panel, self.peer, strict=True))


def interleave(panel_seconds: Callable[[], float], peer_seconds: Callable[[], float], count: int) -> Pairs:
    """Both, ``count`` times, the one that goes first changing each time, after one round that does not count."""
    panel_seconds(), peer_seconds()
    found: dict[Callable[[], float], list[float]] = {panel_seconds: [], peer_seconds: []}
    for number in range(count):
        order = (panel_seconds, peer_seconds) if number % 2 else (peer_seconds, panel_seconds)
        for one in order:
            found[one].append(one())
    return Pairs(found[panel_seconds], found[peer_seconds])


def report(title: str, pairs: Pairs, peer: str, most_ratio: float, most_over_seconds: float) -> bool:
    """Print the figures; whether one of the two limits holds."""
    holds = pairs.ratio <= most_ratio or pairs.over <= most_over_seconds
    print(f"{title}: ratio {pairs.ratio:.3f}, {pairs.over * 1000:+.0f} ms over ({len(pairs.panel)} pairs)")
    print(f"    limit: {most_ratio:g} or {most_over_seconds * 1000:+.0f} ms: {'holds' if holds else 'MISSED'}")
    print(f"    panel  {spread(pairs.panel)}   verified by {', '.join(sorted(VERDICTS)) or 'nothing'}")
    print(f"    {peer}  {spread(pairs.peer)}")
    print(f"    the script was told after the end by {spread(TOLD_AFTER)}")
    print(f"    load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return holds


def spread(seconds: list[float]) -> str:
    """Median, quartiles and range in milliseconds."""
    low, middle, high = (value * 1000 for value in quantiles(seconds, n=4, method="inclusive"))
    least, most = min(seconds) * 1000, max(seconds) * 1000
    return f"median {middle:.0f} ms, quartiles {low:.0f} to {high:.0f}, range {least:.0f} to {most:.0f}"
