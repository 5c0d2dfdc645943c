"""P4: what a panel and its stores cost when many hosts report every second, and whether any sample is lost.

    .venv/bin/python -m benchmarks.fleet_scale [HOSTS …] [--minutes 1] [--gpus 8] [--postgresql]

``manage.py simulate`` reports from as many simulated hosts over real sockets, with lost connections, late bursts and lost
GPUs; in the middle of the measured time the panel is stopped and started again. Afterwards the samples of every GPU are
counted through the history API: lost is what the simulator sent less what is read back. Processor seconds are the
kernel's: of processes that run from /proc, of those that have ended from ``wait4``, both with their children. They are
told of the panel, of its stores and of the simulator apart; the panel's have its second start in them.

``--postgresql``: a web process, a worker and a reconciler on a throw-away PostgreSQL and Redis, in place of one process
on SQLite.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import redis

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import _harness as harness
from benchmarks._restartable_panel import MANAGE, Panel, cpu_seconds, memory_bytes
from tests.services import Services, running_services

MOST_CORES = 1.0
SETTLE_SECONDS, SETTLE_EACH_SECONDS = 15.0, 0.06
"""After the last agent has begun, before processor time counts: a first connection makes rows."""
CONNECT_A_SECOND = 100


@dataclass(frozen=True, slots=True)
class Outcome:
    """Cores are processor seconds a second over the measured time; ``quiet_cores`` are the panel's and the
    stores' before the restart. ``sent`` and ``read`` count samples of GPUs that answered.
    """

    hosts: int
    seconds: float
    panel_cores: float
    store_cores: float
    simulator_cores: float
    quiet_cores: float
    away_seconds: float
    panel_bytes: int
    store_bytes: int
    sent: int
    unconfirmed: int
    dropped: int
    read: int
    reading_seconds: float

    @property
    def lost(self) -> int:
        return self.sent - self.read


def measure(hosts: int, gpus: int, seconds: float, stores: Services | None = None) -> Outcome:
    """One run."""
    with tempfile.TemporaryDirectory() as name:
        panel = Panel(Path(name), stores)
        try:
            panel.prepare()
            panel.start()
            return _measure(panel, hosts, gpus, seconds)
        finally:
            panel.stop()


def settle_seconds(hosts: int) -> float:
    """How long the panel takes, once all hosts have come, to have written what came with them."""
    return SETTLE_SECONDS + hosts * SETTLE_EACH_SECONDS


def _measure(panel: Panel, hosts: int, gpus: int, seconds: float) -> Outcome:
    report, began = panel.folder / "report.json", datetime.now(UTC)
    coming_seconds = hosts / CONNECT_A_SECOND + settle_seconds(hosts)
    store_pids = _store_pids(panel.stores) if panel.stores else []
    with simulator(panel, hosts, gpus, seconds + settle_seconds(hosts), report) as simulating:
        pids = (store_pids, [simulating.pid])
        say(f"{hosts} hosts come; what they cost counts in {coming_seconds:.0f} s")
        time.sleep(coming_seconds)
        first = _spent(panel, *pids)
        time.sleep(seconds / 2)
        middle = _spent(panel, *pids)
        say("restarting the panel")
        panel.stop()
        panel.start()
        away_seconds = time.monotonic() - middle.at
        say(f"it was away for {away_seconds:.1f} s")
        time.sleep(max(0.0, first.at + seconds - time.monotonic()))
        last = _spent(panel, *pids)
        memory = panel.memory_bytes(), sum(map(memory_bytes, store_pids))
        say("waiting for the simulator's end")
        simulating.wait(600)
    rows, over = json.loads(report.read_text()), last.since(first)
    sent, unconfirmed, dropped = (sum(column) for column in zip(*map(counts, rows), strict=True))
    say(f"{sent} samples were sent; reading them back")
    reading = time.monotonic()
    read = read_back(panel, {uuid for row in rows for uuid in row["gpus"]}, began)
    return Outcome(
        hosts=hosts,
        seconds=over.at,
        panel_cores=over.panel / over.at,
        store_cores=over.stores / over.at,
        simulator_cores=over.simulator / over.at,
        quiet_cores=middle.since(first).ours / middle.since(first).at,
        away_seconds=away_seconds,
        panel_bytes=memory[0],
        store_bytes=memory[1],
        sent=sent,
        unconfirmed=unconfirmed,
        dropped=dropped,
        read=read,
        reading_seconds=time.monotonic() - reading,
    )


def counts(row: dict[str, Any]) -> tuple[int, int, int]:
    """A host's samples of GPUs that answered, those not confirmed, those that were dropped for want of room."""
    return sum(row["gpus"].values()), row["unconfirmed"], row["dropped"]


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor seconds until a moment, or between two."""

    at: float
    panel: float
    stores: float
    simulator: float

    @property
    def ours(self) -> float:
        return self.panel + self.stores

    def since(self, before: Spent) -> Spent:
        return Spent(
            self.at - before.at, self.panel - before.panel, self.stores - before.stores, self.simulator - before.simulator
        )


def _spent(panel: Panel, stores: Sequence[int], simulator: Sequence[int]) -> Spent:
    return Spent(time.monotonic(), panel.seconds(), sum(map(cpu_seconds, stores)), sum(map(cpu_seconds, simulator)))


def _store_pids(stores: Services) -> list[int]:
    """PostgreSQL's first process and Redis."""
    lock = (stores.postgresql / "data" / "postmaster.pid").read_text()
    with redis.Redis.from_url(stores.redis_url) as client:
        return [int(lock.split()[0]), int(client.info("server")["process_id"])]


@contextmanager
def simulator(
    panel: Panel, hosts: int, gpus: int, seconds: float, report: Path, seed: int = 0
) -> Iterator[subprocess.Popen[bytes]]:
    """Agents of so many hosts that report to the panel while the block lasts."""
    token = panel.manage("agenttoken", "--simulated", str(hosts))
    options = ["--hosts", hosts, "--gpus", gpus, "--url", panel.url, "--token", token, "--seconds", seconds]
    options += ["--seed", seed]
    command = ["setpriv", "--pdeathsig", "KILL", *MANAGE, "simulate", *map(str, options)]
    environment = panel.environment | {"BERTH_DATA_DIR": str(panel.folder / f"simulator-{seed}")}
    process = subprocess.Popen([*command, "--report", str(report)], cwd=harness.ROOT, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def read_back(panel: Panel, uuids: set[str], began: datetime) -> int:
    """The samples of these GPUs that the history API knows of."""
    secret = panel.manage("token", "create", "benchmark")
    time.sleep(1)  # the confirmed are written; a chunk that is read now is whole
    address = "/api/v1/telemetry/history/summary"
    asked: dict[str, Any] = {
        "since": began.isoformat(),
        "until": datetime.now(UTC).isoformat(),
        "per_page": 200,
        "sort": "id",
    }
    count, page = 0, 1
    with httpx.Client(base_url=panel.url, headers={"Authorization": f"Bearer {secret}"}, timeout=60) as client:
        while True:
            answer = client.get(address, params={**asked, "page": page}).raise_for_status().json()
            count += sum(item["samples"] for item in answer["items"] if item["uuid"] in uuids)
            if answer["next"] is None:
                return count
            page += 1


# ── the report ───────────────────────────────────────────────────────────────
def say(what: str) -> None:
    """Tell how far it is."""
    print(f"    {datetime.now(UTC):%H:%M:%S} {what}", flush=True)


def show(outcome: Outcome) -> bool:
    """Print the figures; whether the limits hold."""
    total = outcome.panel_cores + outcome.store_cores
    holds = total <= MOST_CORES and outcome.lost == 0
    mib = 1024**2
    print(f"P4 {outcome.hosts} hosts, {outcome.seconds:.0f} s, restarted in the middle: {'holds' if holds else 'MISSED'}")
    print(f"    panel {outcome.panel_cores:.3f} and stores {outcome.store_cores:.3f}, together {total:.3f} cores", end="")
    print(f" (limit {MOST_CORES:g}); {outcome.quiet_cores:.3f} before the restart; simulator {outcome.simulator_cores:.3f}")
    print(f"    sent {outcome.sent}, read back {outcome.read}, lost {outcome.lost} (limit 0), not confirmed", end="")
    print(f" {outcome.unconfirmed}, dropped {outcome.dropped}; away for {outcome.away_seconds:.1f} s")
    print(f"    memory: panel {outcome.panel_bytes / mib:.0f} MiB, stores {outcome.store_bytes / mib:.0f} MiB;", end="")
    print(f" read back in {outcome.reading_seconds:.1f} s; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return holds


def main() -> int:
    """1 when a limit is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("hosts", nargs="*", type=int, default=[10, 100, 1000])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--postgresql", action="store_true", help="several processes on a throw-away PostgreSQL and Redis")
    asked = parser.parse_args()
    outcomes = [_one(hosts, asked.gpus, asked.minutes * 60, asked.postgresql) for hosts in asked.hosts or [10, 100, 1000]]
    return 0 if all(outcomes) else 1


def _one(hosts: int, gpus: int, seconds: float, postgresql: bool) -> bool:
    if not postgresql:
        return show(measure(hosts, gpus, seconds))
    with running_services() as services:
        return show(measure(hosts, gpus, seconds, services))


if __name__ == "__main__":
    sys.exit(main())
