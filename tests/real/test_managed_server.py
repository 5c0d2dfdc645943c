"""A managed server with a real llama-server and a real panel: loaded, killed, restarted, adopted, unloaded."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pytest

from models_app.agent.supervision.supervisor import Supervisor
from tests.fixtures.panels import StartPanel
from tests.panels import Panel, wait_until

T = TypeVar("T")

pytestmark = pytest.mark.real

LEAST_BYTES = 80 * 1024**2
"""Of the 99 MiB of ``m100``."""


@pytest.fixture
def panel(new_panel: StartPanel, llama_server_binary: Path, model_files: dict[str, Path]) -> Iterator[Panel]:
    panel = new_panel(BERTH_DISCOVERY="0")
    panel.data.mkdir(parents=True)
    allow_file = panel.data / "managed.toml"
    folder = model_files["m100"].resolve().parent
    allow_file.write_text(f'model_folders = ["{folder}"]\n[llama_server]\nreal = "{llama_server_binary}"\n')
    panel.start()
    yield panel
    supervisor = Supervisor(allow_file, panel.data / "managed")
    for key in (path.name for path in (panel.data / "managed").iterdir()):
        supervisor.server(key).stop()


def awaited(found: Callable[[], T | None], what: str) -> T:
    """What is found at last."""
    last: list[T] = []
    wait_until(lambda: last.extend(each for each in (found(),) if each is not None) or last, what, 120)
    return last[-1]


def operate(browser: httpx.Client, kind: str, endpoint: int) -> dict[str, Any]:
    """Ask for an operation, and wait for its end."""
    asked = browser.post("/api/v1/operations", json={"kind": kind, "endpoint": endpoint, "model": "m100"})
    assert asked.status_code == 202, asked.text

    def ended() -> Any:
        operation = browser.get(asked.headers["Location"]).json()
        return operation if operation["finished_at"] else None

    operation: dict[str, Any] = awaited(ended, f"the {kind} ends")
    assert operation["state"] == "succeeded", operation["error_message"]
    return operation


def running(browser: httpx.Client, server_id: int, restarts: int) -> Any:
    shown = browser.get(f"/api/v1/managed-servers/{server_id}").json()
    return shown if shown["state"] == "running" and shown["restarts"] == restarts else None


def test_it_is_loaded_killed_restarted_adopted_and_unloaded(panel: Panel, model_files: dict[str, Path]) -> None:
    with panel.signed_in() as browser:
        host = browser.get("/api/v1/hosts?is_local=true").json()["items"][0]["id"]
        settings = {"host": host, "name": "m100", "model": str(model_files["m100"].resolve()), "context_length": 512}
        settings["kv_offload"] = False
        server = browser.post("/api/v1/managed-servers", json=settings).json()
        loaded = operate(browser, "load", server["endpoint_id"])
        assert loaded["verified_by"] == "process"
        assert loaded["result"]["moved_bytes"] >= LEAST_BYTES
        assert any("model loaded" in line["text"] for line in loaded["log"])

        first = running(browser, server["id"], 0)
        process = psutil.Process(first["process_id"])
        assert process.memory_info().rss >= LEAST_BYTES
        assert "--no-kv-offload" in process.cmdline()
        os.kill(process.pid, signal.SIGKILL)
        again = awaited(lambda: running(browser, server["id"], 1), "it runs again")
        assert again["process_id"] != process.pid
        assert "signal 9" in again["problem"]

    panel.stop()
    served_on = psutil.Process(again["process_id"])
    assert served_on.is_running()
    panel.start()
    with panel.signed_in() as browser:
        assert awaited(lambda: running(browser, server["id"], 1), "it is found")["process_id"] == served_on.pid
        restarted = operate(browser, "restart", server["endpoint_id"])
        assert restarted["verified_by"] == "process"
        assert not served_on.is_running() or served_on.status() == psutil.STATUS_ZOMBIE
        unloaded = operate(browser, "unload", server["endpoint_id"])
        assert unloaded["verified_by"] == "process"
        assert unloaded["result"]["moved_bytes"] >= LEAST_BYTES
        assert browser.get("/api/v1/loaded-models").json()["total"] == 0
