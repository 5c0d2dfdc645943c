"""P4: what a panel and its stores cost when many hosts report every second, and whether any sample is lost.

    .venv/bin/python -m benchmarks.fleet_scale [HOSTS …] [--minutes 1] [--gpus 8] [--postgresql]

``manage.py simulate`` reports from as many simulated hosts over real sockets, with lost connections, late bursts and lost
GPUs; in the middle the panel is stopped and started again. Afterwards each GPU's samples are counted through the history
API: lost is what the simulator sent less what is read back. Processor seconds are those of the panel's process and, with
``--postgresql``, of the database's, from /proc; the simulator's are told apart.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import _harness as harness
from tests.services import free_port, running_services

MOST_CORES = 1.0
SETTLE_SECONDS, SETTLE_EACH_SECONDS = 15.0, 0.06
"""After the last agent has begun, before processor time counts: a first connection makes rows."""
CONNECT_A_SECOND = 100
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Panel:
    """``manage.py up`` in a folder, which may be restarted. ``spent_seconds`` are those of processes that have ended."""

    folder: Path
    database_url: str = ""
    port: int = field(default_factory=free_port)
    spent_seconds: float = 0.0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        own = {"BERTH_PORT": str(self.port), "BERTH_DATA_DIR": str(self.folder / "data"), "BERTH_DISCOVERY": "0"}
        own["DJANGO_SETTINGS_MODULE"] = "controlpanel.settings"
        return {**os.environ, **own, "DATABASE_URL": self.database_url}

    def start(self) -> None:
        log = self.folder / "log"
        with log.open("wb") as output:
            command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "manage.py", "up"]
            self.process = subprocess.Popen(command, cwd=harness.ROOT, env=self.environment, stdout=output, stderr=output)
        harness.until(lambda: "is ready at" in log.read_text(errors="replace"), log)

    def stop(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        self.spent_seconds += cpu_seconds(self.process.pid)
        self.process.wait(30)

    def seconds(self) -> float:
        """Processor seconds until now."""
        assert self.process
        return self.spent_seconds + cpu_seconds(self.process.pid)

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=harness.ROOT, env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Cores are processor seconds a second. ``sent`` and ``read`` count samples of GPUs that answered."""

    hosts: int
    panel_cores: float
    store_cores: float
    simulator_cores: float
    sent: int
    read: int
    unconfirmed: int

    @property
    def lost(self) -> int:
        return self.sent - self.read


def measure(hosts: int, gpus: int, seconds: float, database_url: str = "", store: int = 0) -> Outcome:
    """One run. ``store`` is the pid of the database's first process."""
    with tempfile.TemporaryDirectory() as name:
        panel = Panel(Path(name), database_url)
        panel.start()
        try:
            return _measure(panel, hosts, gpus, seconds, store)
        finally:
            panel.stop()


def _measure(panel: Panel, hosts: int, gpus: int, seconds: float, store: int) -> Outcome:
    report, began = panel.folder / "report.json", datetime.now(UTC)
    settle_seconds = SETTLE_SECONDS + hosts * SETTLE_EACH_SECONDS
    with _simulator(panel, hosts, gpus, seconds + settle_seconds, report) as simulator:
        time.sleep(hosts / CONNECT_A_SECOND + settle_seconds)
        first, at = _spent(panel, store, simulator.pid), time.monotonic()
        time.sleep(seconds / 2)
        panel.stop()
        panel.start()
        time.sleep(max(0.0, at + seconds - time.monotonic()))
        cores = [(b - a) / (time.monotonic() - at) for a, b in zip(first, _spent(panel, store, simulator.pid), strict=True)]
        simulator.wait(600)
    rows = json.loads(report.read_text())
    sent, unconfirmed = sum(sum(row["gpus"].values()) for row in rows), sum(row["unconfirmed"] for row in rows)
    return Outcome(
        hosts, *cores, sent, _read_back(panel, [uuid for row in rows for uuid in row["gpus"]], began), unconfirmed
    )


def _spent(panel: Panel, store: int, simulator: int) -> tuple[float, float, float]:
    return panel.seconds(), cpu_seconds(store) if store else 0.0, cpu_seconds(simulator)


@contextmanager
def _simulator(panel: Panel, hosts: int, gpus: int, seconds: float, report: Path) -> Iterator[subprocess.Popen[bytes]]:
    token = panel.manage("agenttoken", "--simulated", str(hosts))
    options = ["--hosts", hosts, "--gpus", gpus, "--url", panel.url, "--token", token, "--seconds", seconds]
    command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "manage.py", "simulate", *map(str, options)]
    environment = panel.environment | {"BERTH_DATA_DIR": str(panel.folder / "simulator")}
    process = subprocess.Popen([*command, "--report", str(report)], cwd=harness.ROOT, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _read_back(panel: Panel, uuids: list[str], began: datetime) -> int:
    """The samples of these GPUs that the history API knows of. Two points each: their counts of samples are asked for."""
    token = panel.manage("token", "create", "benchmark")
    time.sleep(1)  # the confirmed are written; a chunk that is read now is whole
    span = {"since": began.isoformat(), "until": datetime.now(UTC).isoformat(), "points": 2}
    with httpx.Client(base_url=panel.url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        return sum(_samples(client, uuid, span) for uuid in uuids)


def _samples(client: httpx.Client, uuid: str, span: dict[str, object]) -> int:
    answer = client.get("/api/v1/telemetry/history", params={"gpu": uuid, **span})
    if answer.status_code == httpx.codes.NOT_FOUND:  # its host never came to report
        return 0
    answer.raise_for_status()
    return sum(sum(gpu["samples"]) for gpu in answer.json()["gpus"])


def cpu_seconds(pid: int) -> float:
    """Processor seconds of a process and all that it has started."""
    children = [int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]
    figures = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, figures[11:15])) / TICKS + sum(map(cpu_seconds, children))


def show(outcome: Outcome) -> bool:
    """Print the figures; whether the limits hold."""
    total = outcome.panel_cores + outcome.store_cores
    holds = total <= MOST_CORES and outcome.lost == 0
    print(f"P4 {outcome.hosts} hosts: panel {outcome.panel_cores:.2f} and stores {outcome.store_cores:.2f} cores", end="")
    print(f" (limit {MOST_CORES:g}), simulator {outcome.simulator_cores:.2f}; {'holds' if holds else 'MISSED'}")
    print(f"    sent {outcome.sent}, read back {outcome.read}, lost {outcome.lost}, not confirmed {outcome.unconfirmed}")
    print(f"    load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    return holds


def main() -> int:
    """1 when a limit is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("hosts", nargs="*", type=int, default=[10, 100, 1000])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--postgresql", action="store_true", help="a throw-away PostgreSQL in place of SQLite")
    asked = parser.parse_args()
    outcomes = [_one(hosts, asked.gpus, asked.minutes * 60, asked.postgresql) for hosts in asked.hosts or [10, 100, 1000]]
    return 0 if all(outcomes) else 1


def _one(hosts: int, gpus: int, seconds: float, postgresql: bool) -> bool:
    if not postgresql:
        return show(measure(hosts, gpus, seconds))
    with running_services() as services:
        lock = (services.postgresql / "data" / "postmaster.pid").read_text()
        return show(measure(hosts, gpus, seconds, services.database_url(), int(lock.split()[0])))


if __name__ == "__main__":
    sys.exit(main())
