"""A panel of several processes on PostgreSQL and Redis, started by the recipes of the Makefile."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0
LOOK_EVERY_SECONDS = 0.05

T = TypeVar("T")


def wait_for(look: Callable[[], T], what: str) -> T:
    """What ``look`` returns once that is true. Fails, naming ``what``, when it never is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:g} seconds for {what}"
        time.sleep(LOOK_EVERY_SECONDS)
    return found


@dataclass
class Process:
    """One process of the panel."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """As the kernel does when memory runs out."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As a service manager does."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) is not None


@dataclass
class Panel:
    """``start("web")``, ``start("worker")`` and ``start("reconciler")`` each start one more process."""

    folder: Path
    environment: dict[str, str]
    password: str = ""
    token: str = ""
    processes: list[Process] = field(default_factory=list)

    def prepare(self) -> None:
        """Migrate, and make the first admin and a token, as the README says."""
        self.manage("migrate", "--verbosity", "0")
        self.password = self.manage("resetadmin", "ada").splitlines()[0].split()[-1]
        self.token = self.manage("token", "create", "tests", "--scope", "write", "--user", "ada").strip()

    def manage(self, *arguments: str) -> str:
        """What ``manage.py`` printed."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, target: str, **environment: str) -> Process:
        """A process by the recipe of ``make TARGET``. It dies with the tests."""
        log = self.folder / f"{target}-{len(self.processes)}.log"
        command = ["setpriv", "--pdeathsig", "KILL", "bash", "-c", _recipe(target)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment | environment, stdout=output, stderr=subprocess.STDOUT
            )
        self.processes.append(Process(process, log))
        return self.processes[-1]

    def web(self) -> Web:
        """A web process that answers."""
        port = free_port()
        self.start("web", BERTH_PORT=str(port))
        url = f"http://127.0.0.1:{port}"
        script = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {self.token}"}, timeout=20)
        web = Web(url, self.password, script)
        wait_for(web.is_alive, f"{web.url} to answer")
        return web

    def close(self) -> None:
        """End every process."""
        for process in self.processes:
            process.kill()

    def logs(self) -> str:
        """The end of every log."""
        return "\n".join(f"── {one.log.name}\n{one.log.read_text(errors='replace')[-3000:]}" for one in self.processes)


def _recipe(target: str) -> str:
    """The command of a target, without its prerequisites."""
    make = ["make", "--dry-run", "--old-file=install", target]
    return subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@dataclass
class Web:
    """One web process, seen by a script and by a browser."""

    url: str
    password: str
    script: httpx.Client

    def is_alive(self) -> bool:
        try:
            return self.script.get("/healthz").is_success
        except httpx.TransportError:
            return False

    def readiness(self) -> dict[str, str]:
        """What each part says: ``ok``, or a sentence. ``{}`` stands for a panel that is ready."""
        answer = self.script.get("/readyz")
        parts: dict[str, str] = answer.json()["parts"]
        wrong = {name: sentence for name, sentence in parts.items() if sentence != "ok"}
        assert answer.status_code == (503 if wrong else 200)
        return wrong

    def wait_until_ready(self) -> None:
        wait_for(lambda: self.readiness() == {}, "the panel to be ready")

    def get(self, path: str) -> Any:
        answer = self.script.get(f"/api/v1/{path}")
        assert answer.is_success, answer.text
        return answer.json()

    def ask(self, **body: Any) -> int:
        """The id of the operation that was asked for."""
        answer = self.script.post("/api/v1/operations", json=body)
        assert answer.status_code == 202, answer.text
        return int(answer.json()["id"])

    def carried_out(self, **body: Any) -> dict[str, Any]:
        """The operation that was asked for, once it has ended: asked for and waited for in one request."""
        answer = self.script.post("/api/v1/operations?wait=20", json=body)
        assert answer.status_code == 202, answer.text
        row: dict[str, Any] = answer.json()
        return row if row["finished_at"] else self.ended(row["id"])

    def ended(self, operation: int) -> dict[str, Any]:
        """The operation, once it has ended."""

        def look() -> dict[str, Any] | None:
            row: dict[str, Any] = self.get(f"operations/{operation}?wait=10")
            return row if row["finished_at"] else None

        return wait_for(look, f"operation {operation} to end")

    @contextmanager
    def browser(self) -> Iterator[httpx.Client]:
        """A browser that has signed in as the admin."""
        with httpx.Client(base_url=self.url, follow_redirects=True, timeout=20) as client:
            answer = self.submit(client, "/login/", username="ada", password=self.password)
            assert "sessionid" in client.cookies, answer.text
            yield client

    def submit(self, client: httpx.Client, path: str, **fields: str) -> httpx.Response:
        """Fill in the form of a page and send it."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', client.get(path).text)
        assert token, f"{path} has no form"
        return client.post(path, data=fields | {"csrfmiddlewaretoken": token[1]}, headers={"Referer": f"{self.url}{path}"})


def environment(database_url: str, redis_url: str, folder: Path) -> dict[str, str]:
    """The environment of every process of one panel."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BERTH_")}
    inherited.pop("DJANGO_SETTINGS_MODULE", None)
    return inherited | {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "BERTH_DATA_DIR": str(folder),
        "BERTH_SECRET_KEY": "one for all of these processes, and long",
        "BERTH_DISCOVERY": "0",
        "PYTHONUNBUFFERED": "1",
    }
