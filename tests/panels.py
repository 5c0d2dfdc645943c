"""Whole panels for tests: ``manage.py up`` as a process, on a free port and with a data folder of its own.

A panel dies with the process that started it. The fixtures are in ``tests.fixtures.panels``.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from models_app.agent.clock import SystemClock
from models_app.agent.credentials import Credentials
from models_app.agent.proofs import TOKEN, Token
from models_app.agent.session import AgentSession, Identity, State
from tests.fixtures.nvml import NvmlStub
from tests.fixtures.real_servers import RealServer, running_server
from tests.ports import free_port
from tests.tools.model_cache import FOLDER as MODELS

ROOT = Path(__file__).resolve().parents[1]
ADMIN, PASSWORD = "admin", "a long pass phrase"
READY_SECONDS, STOP_SECONDS, COMMAND_SECONDS = 120.0, 60.0, 60.0
GPU_MIB = 4096
LOG_TAIL_CHARACTERS = 6000
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""A killed test process would otherwise leave its children behind."""
FOREIGN = ("BERTH_", "DJANGO_", "DATABASE_URL", "REDIS_URL")
"""What the tests themselves run with; a panel in one process has settings and a database of its own."""
SETTINGS = {
    "BERTH_ADMIN_PASSWORD": PASSWORD,
    "BERTH_DISCOVERY": "0",
    "BERTH_LOGIN_ATTEMPTS": "1000",
    "BERTH_OBSERVE_SECONDS": "0.5",
    "PYTHONUNBUFFERED": "1",
}


class Panel:
    """A panel in ``folder``. It may be started again after a stop: the port and the data stay."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.data = Path(environment.get("BERTH_DATA_DIR", folder / "data"))
        self.log = folder / "panel.log"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        places = {"BERTH_PORT": str(self.port), "BERTH_DATA_DIR": str(self.data)}
        self.environment = inherited | SETTINGS | places | environment
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process without waiting for it."""
        command = [*DIES_WITH_US, sys.executable, "manage.py", "up"]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        return self.process

    def take(self, database: Path) -> None:
        """Begin with this SQLite file."""
        self.data.mkdir(parents=True, mode=0o700)
        shutil.copy(database, self.data / "berth.sqlite3")

    def start(self) -> None:
        """Return when the panel says that it is ready."""
        process = self.launch()
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            if self._is_ready():
                return
            time.sleep(0.05)
        pytest.fail(f"the panel did not get ready (exit status {process.poll()}):\n{self.log_tail()}", pytrace=False)

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send the signal and return the exit status; a panel that does not end is killed, which is a failure."""
        assert self.process
        self.process.send_signal(number)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"the panel did not stop within {STOP_SECONDS:.0f} s:\n{self.log_tail()}", pytrace=False)

    def kill(self) -> None:
        """End it without a word, as a power cut would."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_SECONDS)

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command of ``manage.py`` on the same data folder."""
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )

    @contextmanager
    def signed_in(self, name: str = ADMIN, password: str = PASSWORD) -> Iterator[httpx.Client]:
        """A browser without a screen, signed in; its requests carry the CSRF token."""
        with httpx.Client(base_url=self.url, timeout=30, follow_redirects=True) as client:
            token = client.get("/login/").cookies["csrftoken"]
            form = {"username": name, "password": password, "csrfmiddlewaretoken": token}
            assert client.post("/login/", data=form).url.path == "/", "the login was refused"
            client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
            yield client

    def log_tail(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:] if self.log.exists() else "(no log)"

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).is_success
        except httpx.HTTPError:
            return False


@contextmanager
def running_panel(folder: Path, database: Path | None = None, **environment: str) -> Iterator[Panel]:
    """A panel that is ready, and gone afterwards. It begins with nothing, or with this SQLite file."""
    panel = Panel(folder, **environment)
    try:
        if database:
            panel.take(database)
        panel.start()
        yield panel
        if panel.process and panel.process.poll() is None:
            panel.stop()
    finally:
        panel.kill()


@contextmanager
def running_simulator(folder: Path, kind: str = "ollama", *arguments: str) -> Iterator[str]:
    """The address of a simulated server in a process of its own; faults are injected at ``/simulation/faults``."""
    program = [sys.executable, "-m", "models_app.simulation", kind, "--control", *arguments]
    log = folder / f"{kind}.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*DIES_WITH_US, *program], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
    try:
        assert process.stdout
        words = process.stdout.readline().decode()
        if not words.startswith("listening on "):
            pytest.fail(f"the simulated server did not start:\n{log.read_text(errors='replace')}", pytrace=False)
        yield words.removeprefix("listening on ").strip()
    finally:
        process.terminate()
        process.communicate(timeout=STOP_SECONDS)


def add_endpoint(panel: Panel, url: str, name: str) -> int:
    """Add the server to the panel's own host; its id once its models are listed."""
    with panel.signed_in() as browser:
        host = browser.get("/api/v1/hosts").json()["items"][0]["id"]
        added = browser.post(f"/hosts/{host}/endpoints/add/", data={"url": url, "endpoint_name": name})
        assert added.is_success, added.text
        installed = {"endpoint": name, "per_page": "1"}
        wait_until(lambda: browser.get("/api/v1/models", params=installed).json()["items"], "its models are listed")
        return int(browser.get("/api/v1/endpoints", params={"name": name}).json()["items"][0]["id"])


def admit_agent(panel: Panel, browser: httpx.Client, host_id: int) -> None:
    """Enrol an agent on a host; it connects, says nothing, and leaves."""
    shown = browser.post(f"/hosts/{host_id}/agent/").text
    token = TOKEN.search(shown)
    assert token, "the page shows no token"
    session = AgentSession(Credentials.from_token(Token.parse(token[0])), Identity("boot"), SystemClock())
    with connect(f"ws://127.0.0.1:{panel.port}/agent/", compression=None) as socket:
        session.begin()
        while session.state is not State.OPEN:
            session.receive(socket.recv(timeout=COMMAND_SECONDS))
            for text in session.outgoing():
                socket.send(text)


def wait_until(holds: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait for a condition that nothing announces."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s in vain until {what}")
        time.sleep(0.05)


@contextmanager
def running_machine(folder: Path, binary: Path, library: Path) -> Iterator[tuple[RealServer, dict[str, str]]]:
    """A real llama-server in router mode, and the environment of a machine with one GPU whose memory follows it.

    The server runs under a name of its own, so that the GPU does not hold what other tests on this machine load.
    """
    named = folder / f"llama-server{os.getpid() % 1000:03}"
    shutil.copy(binary, named)
    stub = NvmlStub(library, folder)
    stub.set(driver="580.95.05", count=1, gpu0={"name": "NVIDIA Stand-in", "total_mb": GPU_MIB, "follow": named.name})
    with running_server(named, ("--models-dir", str(MODELS), "--models-max", "4"), folder / "llama-server.log") as server:
        yield server, stub.environment
