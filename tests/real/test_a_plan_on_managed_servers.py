"""A plan on real llama-servers that an agent starts: a server is killed in the middle, then the panel; it is carried out.

It takes as long as two starts of a panel: the worker that is killed in the middle is a part of the first.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from models_app.agent.proofs import TOKEN
from models_app.agent.supervision.records import folders
from models_app.agent.supervision.supervisor import Supervisor
from tests.fixtures.nvml import NvmlStub
from tests.fixtures.panels import StartPanel
from tests.panels import DIES_WITH_US, GPU_MIB, ROOT, Panel, wait_until

pytestmark = pytest.mark.real

HOST = "gpu-1"
LARGE_BYTES = 400 * 1024**2
"""Of the 500 MB of ``m500``, at least."""


@dataclass(frozen=True)
class GpuHost:
    """A machine with an agent and one GPU, whose memory is what the llama-servers of the agent hold resident.

    Its owner allows two programs: ``plain``, and ``gated``, which loads nothing until the gate is opened.
    """

    folder: Path
    environment: dict[str, str]

    @property
    def allow_file(self) -> Path:
        return self.folder / "managed.toml"

    @property
    def gate(self) -> Path:
        return self.folder / "gate"

    def open_gate(self) -> None:
        """Let the one that waits there begin."""
        self.gate.write_text("\n")

    def enrol(self, panel: Panel, token: str) -> None:
        config = self.folder / "agent.toml"
        secret = f'secret_file = "{self.folder}/secret.json"'
        supervision = f'[supervision]\nallow_file = "{self.allow_file}"\nstate_folder = "{self.folder}/state"'
        config.write_text(f'panel = "ws://127.0.0.1:{panel.port}/agent/"\n{secret}\n{supervision}\n')
        self._agent("enrol", stdin=subprocess.PIPE).communicate(f"{token}\n", timeout=60)

    def run_agent(self) -> subprocess.Popen[str]:
        return self._agent("run", stdin=subprocess.DEVNULL)

    def _agent(self, command: str, **more: Any) -> subprocess.Popen[str]:
        words = [
            *DIES_WITH_US,
            sys.executable,
            "-m",
            "models_app.agent",
            command,
            "--config",
            str(self.folder / "agent.toml"),
        ]
        with (self.folder / f"{command}.log").open("wb") as log:
            return subprocess.Popen(
                words, cwd=ROOT, env=os.environ | self.environment, stdout=log, stderr=log, text=True, **more
            )


@pytest.fixture
def gpu_host(
    tmp_path: Path, llama_server_binary: Path, model_files: dict[str, Path], nvml_library: Path
) -> Iterator[GpuHost]:
    named = tmp_path / f"llama-server{os.getpid() % 1000:03}"
    shutil.copy(llama_server_binary, named)
    stub = NvmlStub(nvml_library, tmp_path)
    stub.set(driver="580.95.05", count=1, gpu0={"name": "NVIDIA Stand-in", "total_mb": GPU_MIB, "follow": named.name})
    made = GpuHost(tmp_path, stub.environment)
    os.mkfifo(made.gate)
    gated = tmp_path / "gated"
    gated.write_text(f'#!/bin/bash\n[ "$1" = --version ] || read -r < "{made.gate}"\nexec "{named}" "$@"\n')
    gated.chmod(0o755)
    models = model_files["m100"].resolve().parent
    programs = f'[llama_server]\nplain = "{named}"\ngated = "{gated}"\n'
    made.allow_file.write_text(f'model_folders = ["{models}"]\n{programs}')
    yield made
    for folder in folders(tmp_path / "state"):
        Supervisor(made.allow_file, tmp_path / "state").server(folder.key).stop()


@pytest.fixture
def panel(new_panel: StartPanel, gpu_host: GpuHost) -> Iterator[Panel]:
    """A panel with an agent on the GPU host."""
    panel = new_panel()
    panel.start()
    with panel.signed_in() as browser:
        page = browser.post("/hosts/agents/add/", data={"name": HOST, "tags": ""}).text
    token = TOKEN.search(page)
    assert token
    gpu_host.enrol(panel, token[0])
    agent = gpu_host.run_agent()
    yield panel
    agent.terminate()
    assert agent.wait(20) == 0, (gpu_host.folder / "run.log").read_text()


@dataclass(frozen=True)
class Browser:
    """What an admin does, through the API."""

    client: httpx.Client

    def get(self, path: str, **query: str) -> Any:
        return self.client.get(f"/api/v1{path}", params=query).raise_for_status().json()

    def post(self, path: str, **body: Any) -> Any:
        answer = self.client.post(f"/api/v1{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def add_server(self, name: str, file: Path, program: str) -> None:
        settings = {"name": name, "model": str(file.resolve()), "binary": program, "context_length": 512}
        self.post("/managed-servers", host=HOST, server_name=name, **settings)

    def server(self, name: str) -> Any:
        return self.get("/managed-servers", server_name=name)["items"][0]

    def starting(self, name: str, besides: int | None = None) -> int:
        """The id of its process that has not begun to serve, once there is one other than ``besides``."""
        found: list[int] = []

        def is_seen() -> bool:
            found[:] = {self.server(name)["process_id"]} - {None, besides}
            return bool(found)

        wait_until(is_seen, f"a process of {name} is seen")
        return found[0]

    def agent_seen_at(self) -> datetime:
        return datetime.fromisoformat(self.get("/agents")["items"][0]["last_seen_at"])

    def solved(self) -> Any:
        plan = self.post("/plans", name="evening")["id"]
        wait_until(lambda: self.get(f"/plans/{plan}")["state"] != "solving", "the plan is solved")
        return self.get(f"/plans/{plan}")

    def ended(self, operation: int) -> Any:
        wait_until(lambda: self.get(f"/operations/{operation}", wait="20")["finished_at"], f"operation {operation} ends")
        return self.get(f"/operations/{operation}")


@pytest.fixture
def browser(panel: Panel, model_files: dict[str, Path]) -> Iterator[Browser]:
    """Two servers and two demands: ``m100`` comes first, ``m500`` is gated."""
    with panel.signed_in() as client:
        browser = Browser(client)
        wait_until(lambda: browser.get("/hosts", name=HOST)["items"][0]["last_sample_at"], "the host is sampled")
        browser.add_server("m100", model_files["m100"], "plain")
        browser.add_server("m500", model_files["m500"], "gated")
        for number, name in enumerate(("m100", "m500"), 1):
            browser.post("/demands", name=name, model=name, context_length=512, priority=number)
        yield browser


def states(operation: Any) -> list[str]:
    return [step["state"] for step in operation["apply_steps"]]


def test_it_is_applied_broken_resumed_by_another_worker_held_and_rolled_back(
    panel: Panel, gpu_host: GpuHost, browser: Browser
) -> None:
    plan = browser.solved()
    assert len(plan["steps"]) == 2, plan
    first = browser.post(f"/plans/{plan['id']}/apply", confirmed=True)["operation"]
    killed = browser.starting("m500")
    os.kill(killed, signal.SIGKILL)
    broken = browser.ended(first)
    assert (broken["state"], states(broken)) == ("failed", ["done", "failed"])
    assert "signal 9" in broken["error_message"]
    assert [row["name"] for row in browser.get("/loaded-models")["items"]] == ["m100"]

    second = browser.post(f"/operations/{first}/resume")["id"]
    waiting = browser.starting("m500", besides=killed)
    panel.kill()
    killed_at = datetime.now(UTC)
    take_up(panel, datetime.now(UTC) + timedelta(hours=1))
    gpu_host.open_gate()
    panel.start()
    with panel.signed_in() as client:
        browser = Browser(client)
        wait_until(lambda: browser.agent_seen_at() > killed_at, "the agent is back")
        take_up(panel, datetime.now(UTC) - timedelta(hours=1))
        resumed = browser.ended(second)
        assert resumed["state"] == "succeeded", resumed
        assert browser.server("m500")["process_id"] == waiting
        [load] = [step for step in resumed["apply_steps"] if step["model"] == "m500"]
        assert (load["verified_by"], load["moved_bytes"] > LARGE_BYTES) == ("process", True)
        wait_until(lambda: browser.get(f"/plans/{plan['id']}")["state"] == "applied", "the plan is active")
        assert browser.get(f"/plans/{plan['id']}/drift")["differences"] == []

        back = browser.ended(browser.post(f"/operations/{second}/roll-back")["id"])
        assert back["state"] == "succeeded", back
        assert browser.get("/loaded-models")["total"] == 0


def take_up(panel: Panel, moment: datetime) -> None:
    """When the load of the killed worker is taken up again: not before the agent is back, and then at once."""
    with sqlite3.connect(panel.data / "berth.sqlite3", timeout=30) as rows:
        due = "UPDATE models_app_operation SET state = 'queued', due_at = ?, enqueued_at = NULL"
        rows.execute(f"{due} WHERE kind = 'load' AND state IN ('queued', 'running')", [f"{moment:%Y-%m-%d %H:%M:%S}"])
