"""A panel that is stopped and started again, with all its processes, and what they take by the kernel's figures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks import _harness as harness
from tests.services import Services, free_port

STOP_SECONDS = 30
START_SECONDS = 180
LOOK_EVERY_SECONDS = 0.1
TICKS = os.sysconf("SC_CLK_TCK")
MANAGE = (sys.executable, "manage.py")
CELERY = (str(Path(sys.executable).parent / "celery"), "-A", "controlpanel", "worker")
ONE_PROCESS = ((*MANAGE, "up"),)
SEVERAL = ((*MANAGE, "web"), (*CELERY, "--pool", "threads", "--concurrency", "8"), (*MANAGE, "reconciler"))


@dataclass
class Panel:
    """A panel in a folder, which may be restarted: one process, or several on ``stores``.

    ``spent_seconds`` are processor seconds of its processes that have ended.
    """

    folder: Path
    stores: Services | None = None
    port: int = field(default_factory=free_port)
    spent_seconds: float = 0.0
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        own = {"BERTH_PORT": str(self.port), "BERTH_DATA_DIR": str(self.folder / "data"), "BERTH_DISCOVERY": "0"}
        own |= {
            "DJANGO_SETTINGS_MODULE": "controlpanel.settings",
            "BERTH_SECRET_KEY": "one for all of these processes, and long",
        }
        stores = self.stores
        return {
            **os.environ,
            **own,
            "DATABASE_URL": stores.database_url() if stores else "",
            "REDIS_URL": stores.redis_url if stores else "",
        }

    def prepare(self) -> None:
        """What one process does for itself, and several are told to: as the README says."""
        if self.stores:
            self.manage("migrate", "--verbosity", "0")
            self.manage("resetadmin", "ada")

    def start(self) -> None:
        log = self.folder / "log"
        with log.open("wb") as output:
            for command in SEVERAL if self.stores else ONE_PROCESS:
                guarded = ["setpriv", "--pdeathsig", "KILL", *command]
                started = subprocess.Popen(guarded, cwd=harness.ROOT, env=self.environment, stdout=output, stderr=output)
                self.processes.append(started)
        harness.until(self._answers, log, START_SECONDS)

    def _answers(self) -> bool:
        """A thousand agents that come back at once may let it wait."""
        time.sleep(LOOK_EVERY_SECONDS)
        return httpx.get(f"{self.url}/healthz", timeout=START_SECONDS).is_success

    def stop(self) -> None:
        """By SIGTERM, as a service manager does."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            self.spent_seconds += _ended_seconds(process)
        self.processes.clear()

    def seconds(self) -> float:
        """Processor seconds until now."""
        return self.spent_seconds + sum(cpu_seconds(process.pid) for process in self.processes)

    def memory_bytes(self) -> int:
        """What its processes have in memory."""
        return sum(memory_bytes(process.pid) for process in self.processes)

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [*MANAGE, *arguments], cwd=harness.ROOT, env=self.environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()


def cpu_seconds(pid: int) -> float:
    """Processor seconds of a process and all that it has started; 0 for one that has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        figures = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, figures[11:15])) / TICKS + sum(map(cpu_seconds, _children(pid)))
    return 0.0


def memory_bytes(pid: int) -> int:
    """What a process and all that it has started have in memory; what several share is divided among them."""
    with suppress(FileNotFoundError, ProcessLookupError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        own = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        return own + sum(map(memory_bytes, _children(pid)))
    return 0


def _children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]


def _ended_seconds(process: subprocess.Popen[bytes]) -> float:
    """Wait for its end; the processor seconds of its whole life, and those of its children that it has waited for."""
    late = threading.Timer(STOP_SECONDS, os.kill, (process.pid, signal.SIGKILL))
    late.start()
    _, status, usage = os.wait4(process.pid, 0)
    late.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime
